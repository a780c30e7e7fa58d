//! What depends on what, as a drawing (SVG): names, the zones that they live in or are lost with, those zones' servers, and the
//! prefixes that the servers stand in. Pure.
//!
//! Model: four columns; what is most used comes first and what finds no place is counted at the foot of its column. What cannot be
//! reached is told by a word and a dashed frame as well as by colour. Colours are classes, so that the page decides them.
//!
//! Everything that is written comes out of users' questions and strangers' zones, and passes [`escaped`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use super::html::escaped;
use super::report::Report;

/// Boxes of each column: names, zones, servers, prefixes.
const ROWS_MAX: [usize; 4] = [24, 24, 32, 24];
/// Servers that are drawn of one zone; the root has 13, which say no more than 4.
const SERVERS_PER_ZONE_MAX: usize = 4;
/// Where columns begin, and how wide a box is.
const LEFT: [usize; 4] = [0, 275, 550, 825];
const WIDTH: usize = 190;
/// Height of a box, and from one to the next in the longest column; the others are spread over the same height, so that lines run level.
const HEIGHT: usize = 24;
const STEP: usize = 30;
/// Above the first box.
const TOP: usize = 34;
/// Letters that fit into a box.
const LETTERS_MAX: usize = 24;
const HEADS: [&str; 4] = ["names", "zones", "name servers", "prefixes"];

/// A box.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    text: String,
    /// Its class: `ok`, `lost`, `weak` (survives by something that does not last, or in part), `held` (a copy is here).
    class: &'static str,
    /// What is told of it beside its name.
    note: String,
}

/// Boxes in columns, and lines between neighbours.
#[derive(Debug, Default)]
struct Drawing {
    columns: [Vec<Node>; 4],
    /// What found no place.
    left_out: [usize; 4],
    /// From the box of a column to that of the next one; true: it leads to what cannot be reached.
    lines: BTreeMap<(usize, usize, usize), bool>,
}

/// The drawing for a report; none where nothing is known.
pub fn svg(report: &Report) -> Option<String> {
    let drawing = Drawing::of(report);
    (!drawing.columns[0].is_empty() && !drawing.columns[1].is_empty()).then(|| drawing.to_svg())
}

impl Drawing {
    fn of(report: &Report) -> Drawing {
        let mut drawing = Drawing::default();
        let mut zones: HashMap<&str, usize> = HashMap::new();
        let known: HashMap<&str, _> = (report.zones_top.iter())
            .map(|row| (row.zone.as_str(), row))
            .collect();
        let mut unplaced_zones = BTreeSet::new();
        for row in report
            .asked_top
            .iter()
            .filter(|row| row.class != "fails_now")
        {
            if drawing.columns[0].len() >= ROWS_MAX[0] {
                drawing.left_out[0] += 1;
                continue;
            }
            let name = drawing.add(
                0,
                Node {
                    text: format!("{} {}", row.name, row.rtype),
                    class: match row.class.as_str() {
                        "lost" => "lost",
                        "mirror" | "live" => "ok",
                        _ => "weak",
                    },
                    note: match row.class.as_str() {
                        "lost" => "lost".to_owned(),
                        word => format!("survives, from {word}"),
                    },
                },
            );
            for (at, zone) in [&row.zone, &row.lost_with].into_iter().enumerate() {
                let Some(zone) = zone.as_deref().and_then(|zone| known.get(zone)) else {
                    continue;
                };
                let index = match zones.get(zone.zone.as_str()) {
                    Some(index) => *index,
                    None if drawing.columns[1].len() >= ROWS_MAX[1] => {
                        unplaced_zones.insert(zone.zone.as_str());
                        continue;
                    }
                    None => {
                        let index = drawing.add(1, zone_node(zone));
                        zones.insert(&zone.zone, index);
                        index
                    }
                };
                let leads_out = row.class == "lost" && (at == 1 || row.lost_with.is_none());
                drawing.line(0, name, index, leads_out);
            }
        }
        drawing.left_out[1] = unplaced_zones.len();
        drawing.add_servers(&zones, &known);
        drawing
    }

    fn add_servers<'a>(
        &mut self,
        zones: &HashMap<&'a str, usize>,
        known: &HashMap<&'a str, &super::domains::ZoneRow>,
    ) {
        let mut ordered: Vec<(&str, usize)> = zones.iter().map(|(z, i)| (*z, *i)).collect();
        ordered.sort_by_key(|(_, index)| *index);
        let mut servers: HashMap<String, usize> = HashMap::new();
        let mut prefixes: BTreeMap<IpNet, (usize, bool, bool)> = BTreeMap::new();
        let mut unplaced = BTreeSet::new();
        let mut unplaced_prefixes = BTreeSet::new();
        for (zone, zone_index) in ordered {
            let Some(row) = known.get(zone) else {
                continue;
            };
            for server in row.servers.iter().take(SERVERS_PER_ZONE_MAX) {
                let index = match servers.get(&server.name) {
                    Some(index) => *index,
                    None if self.columns[2].len() >= ROWS_MAX[2] => {
                        unplaced.insert(server.name.clone());
                        continue;
                    }
                    None => {
                        let index = self.add(2, server_node(server));
                        servers.insert(server.name.clone(), index);
                        index
                    }
                };
                self.line(1, zone_index, index, server.cut);
                for address in &server.addresses {
                    let is_cut = server.cut_addresses.contains(address);
                    let prefix = prefix_of(*address);
                    let at = match prefixes.get_mut(&prefix) {
                        Some((at, some_cut, some_reached)) => {
                            *some_cut |= is_cut;
                            *some_reached |= !is_cut;
                            *at
                        }
                        None if self.columns[3].len() >= ROWS_MAX[3] => {
                            unplaced_prefixes.insert(prefix);
                            continue;
                        }
                        None => {
                            let at = self.add(
                                3,
                                Node {
                                    text: prefix.to_string(),
                                    class: "",
                                    note: String::new(),
                                },
                            );
                            prefixes.insert(prefix, (at, is_cut, !is_cut));
                            at
                        }
                    };
                    self.line(2, index, at, is_cut);
                }
            }
        }
        for (at, some_cut, some_reached) in prefixes.into_values() {
            let node = &mut self.columns[3][at];
            (node.class, node.note) = match (some_cut, some_reached) {
                (true, false) => ("lost", "cut off".to_owned()),
                (true, true) => ("weak", "cut off in part".to_owned()),
                _ => ("ok", "stays reachable".to_owned()),
            };
        }
        self.left_out[2] = unplaced.len();
        self.left_out[3] = unplaced_prefixes.len();
    }

    fn add(&mut self, column: usize, node: Node) -> usize {
        self.columns[column].push(node);
        self.columns[column].len() - 1
    }

    fn line(&mut self, column: usize, from: usize, to: usize, leads_out: bool) {
        *self.lines.entry((column, from, to)).or_default() |= leads_out;
    }

    /// Boxes of a column, and the line that counts what found no place.
    fn rows(&self, column: usize) -> usize {
        self.columns[column].len() + usize::from(self.left_out[column] > 0)
    }

    fn to_svg(&self) -> String {
        let most = (0..4).map(|at| self.rows(at)).max().unwrap_or(0);
        let y_of = |column: usize, row: usize| {
            let whole = most * STEP;
            let step = whole / self.rows(column).max(1);
            TOP + row * step + (step - STEP) / 2
        };
        let (wide, high) = (LEFT[3] + WIDTH + 2, TOP + most * STEP + 4);
        let mut out = format!(
            "<svg viewBox=\"-1 0 {wide} {high}\" role=\"img\" aria-label=\"what depends on what\">\n"
        );
        // Those that lead out on top.
        for bad in [false, true] {
            for ((column, from, to), _) in self.lines.iter().filter(|(_, out)| **out == bad) {
                let (x1, x2) = (LEFT[*column] + WIDTH, LEFT[column + 1]);
                let (y1, y2) = (
                    y_of(*column, *from) + HEIGHT / 2,
                    y_of(column + 1, *to) + HEIGHT / 2,
                );
                let bend = (x1 + x2) / 2;
                let class = if bad { "line out" } else { "line" };
                let _ = writeln!(
                    out,
                    "<path class=\"{class}\" d=\"M{x1} {y1}C{bend} {y1} {bend} {y2} {x2} {y2}\"/>"
                );
            }
        }
        for (at, column) in self.columns.iter().enumerate() {
            let x = LEFT[at];
            let _ = writeln!(
                out,
                "<text class=\"head\" x=\"{x}\" y=\"18\">{}</text>",
                HEADS[at]
            );
            for (row, node) in column.iter().enumerate() {
                let y = y_of(at, row);
                let (title, note) = (escaped(&node.text), escaped(&node.note));
                let _ = writeln!(
                    out,
                    "<g class=\"{}\"><title>{title} ({note})</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"4\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
                    node.class,
                    x + 8,
                    y + 16,
                    escaped(&shortened(&node.text)),
                );
            }
            if self.left_out[at] > 0 {
                let y = y_of(at, column.len()) + 16;
                let _ = writeln!(
                    out,
                    "<text class=\"more\" x=\"{}\" y=\"{y}\">and {} more</text>",
                    x + 8,
                    self.left_out[at]
                );
            }
        }
        out.push_str("</svg>\n");
        out
    }
}

fn zone_node(row: &super::domains::ZoneRow) -> Node {
    let all_cut = !row.servers.is_empty() && row.servers.iter().all(|s| s.cut);
    let some_cut = row.servers.iter().any(|s| s.cut);
    let more = row.servers.len().saturating_sub(SERVERS_PER_ZONE_MAX);
    let (class, note) = match (row.mirrored, all_cut, some_cut) {
        (true, ..) => ("held", "a copy is held here"),
        (_, true, _) => ("lost", "all its servers are cut off"),
        (_, _, true) => ("weak", "some of its servers are cut off"),
        _ if row.servers.is_empty() => ("weak", "its servers are not known"),
        _ => ("ok", "its servers stay reachable"),
    };
    let note = match more {
        0 => note.to_owned(),
        more => format!("{note}; {more} more servers are not drawn"),
    };
    Node {
        text: row.zone.clone(),
        class,
        note,
    }
}

fn server_node(server: &super::verdict::LostServer) -> Node {
    let (class, note) = match (server.cut, server.cut_addresses.is_empty()) {
        _ if server.addresses.is_empty() => ("weak", "no address is known"),
        (true, _) => ("lost", "cut off"),
        (false, false) => ("weak", "cut off in part"),
        _ => ("ok", "stays reachable"),
    };
    Node {
        text: server.name.clone(),
        class,
        note: note.to_owned(),
    }
}

/// The /24 or /48 of an address.
fn prefix_of(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, length).map_or_else(|_| address.into(), |net| net.trunc())
}

/// Beginning and end: both tell names apart.
fn shortened(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= LETTERS_MAX {
        return text.to_owned();
    }
    let half = (LETTERS_MAX - 1) / 2;
    let begin: String = letters[..half].iter().collect();
    let end: String = letters[letters.len() - half..].iter().collect();
    format!("{begin}\u{2026}{end}")
}
