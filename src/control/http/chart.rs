//! Small pictures of the last 24 hours, as SVG within the page.

use std::fmt::Write;

use super::super::history::{ROW_S, ROWS_MAX, Row, Shade};

/// Columns of a picture; each stands for so many rows.
const COLUMNS: usize = 240;
const ROWS_PER_COLUMN: usize = ROWS_MAX / COLUMNS;
/// Height of a curve, in the picture's own units.
const HEIGHT: f64 = 60.0;

/// The column of each row: time runs to the right, and the last one ends now.
fn columns(rows: &[Row]) -> impl Iterator<Item = (usize, &Row)> {
    let end_s = rows.last().map_or(0, |row| row.wall_s);
    rows.iter().filter_map(move |row| {
        let ago = end_s.saturating_sub(row.wall_s) / ROW_S;
        let ago = usize::try_from(ago).ok()? / ROWS_PER_COLUMN;
        Some((COLUMNS.checked_sub(ago + 1)?, row))
    })
}

/// The states of a mirror, the worst of each column.
pub fn strip(rows: &[Row], zone: &str) -> String {
    let mut shades = [None::<Shade>; COLUMNS];
    for (column, row) in columns(rows) {
        if let Some((_, shade)) = row.mirrors.iter().find(|(name, _)| name == zone) {
            let place = &mut shades[column];
            *place = Some(place.map_or(*shade, |worst| worse(worst, *shade)));
        }
    }
    let mut out = format!(
        "<svg class=\"strip\" viewBox=\"0 0 {COLUMNS} 10\" preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"the last 24 hours\">"
    );
    let mut at = 0;
    while at < COLUMNS {
        let run = shades[at..]
            .iter()
            .take_while(|s| **s == shades[at])
            .count();
        if let Some(shade) = shades[at] {
            let class = word(shade);
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{at}\" width=\"{run}\" height=\"10\"><title>{class}</title></rect>"
            );
        }
        at += run;
    }
    out.push_str("</svg>");
    out
}

/// The word and class for a shade.
pub fn word(shade: Shade) -> &'static str {
    match shade {
        Shade::Online => "online",
        Shade::Suspect => "suspect",
        Shade::Isolated => "isolated",
        Shade::Bare => "bare",
    }
}

fn worse(a: Shade, b: Shade) -> Shade {
    let rank = |shade| match shade {
        Shade::Online => 0,
        Shade::Suspect => 1,
        Shade::Isolated => 2,
        Shade::Bare => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// A curve of rates per second from counts per row: the mean of each column. Tells the highest, too. Its height stands for that rate, or for
/// `height_min` if that is more: what is nearly nothing looks like it.
pub fn curve(rows: &[Row], height_min: f64, of: impl Fn(&Row) -> u64) -> (String, f64) {
    let mut sums = [(0_u64, 0_u64); COLUMNS];
    for (column, row) in columns(rows) {
        let (sum, count) = &mut sums[column];
        *sum = sum.saturating_add(of(row));
        *count += 1;
    }
    let rates: Vec<Option<f64>> = (sums.iter())
        .map(|(sum, count)| (*count > 0).then(|| *sum as f64 / (*count * ROW_S) as f64))
        .collect();
    let most = rates.iter().flatten().copied().fold(0.0, f64::max);
    let mut out = format!(
        "<svg class=\"curve\" viewBox=\"0 0 {COLUMNS} {HEIGHT}\" preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"the last 24 hours\">"
    );
    for (x, rate) in rates.iter().enumerate() {
        let Some(rate) = rate.filter(|rate| *rate > 0.0) else {
            continue;
        };
        let height = (rate / most.max(height_min) * HEIGHT).max(0.5);
        let y = HEIGHT - height;
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"{y:.1}\" width=\"1\" height=\"{height:.1}\"/>"
        );
    }
    out.push_str("</svg>");
    (out, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::history::Counts;

    fn row(minute: u64, queries: u64, shade: Shade) -> Row {
        Row {
            wall_s: minute * ROW_S,
            counts: Counts {
                queries,
                ..Counts::default()
            },
            mirrors: vec![("ru.".into(), shade)],
        }
    }

    #[test]
    fn the_worst_of_a_column_shows_and_now_is_at_the_right() {
        let mut rows: Vec<Row> = (0..1440).map(|m| row(m, 60, Shade::Online)).collect();
        rows[1439] = row(1439, 600, Shade::Isolated);
        let strip = strip(&rows, "ru.");
        assert!(
            strip.contains("class=\"online\" x=\"0\" width=\"239\""),
            "{strip}"
        );
        assert!(strip.contains("class=\"isolated\" x=\"239\" width=\"1\""));
        assert!(!super::strip(&rows, "other.").contains("<rect"));
        let (curve, most) = curve(&rows, 0.0, |row| row.counts.queries);
        assert_eq!(curve.matches("<rect").count(), COLUMNS);
        assert_eq!(most, 2.5);
        let (low, _) = super::curve(&rows, 25.0, |row| row.counts.queries);
        assert!(
            low.contains("x=\"239\" y=\"54.0\" width=\"1\" height=\"6.0\""),
            "{low}"
        );
    }

    #[test]
    fn a_clock_that_was_set_back_draws_nothing_wrong() {
        let rows = [row(100, 5, Shade::Online), row(3, 5, Shade::Bare)];
        assert!(strip(&rows, "ru.").contains("bare"));
        assert_eq!(curve(&[], 0.0, |_| 1).1, 0.0);
    }
}
