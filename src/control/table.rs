//! Columns for people.

/// Rows under a head, each column as wide as its widest cell; nothing at all without rows.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub fn new(heads: &[&str]) -> Table {
        Table {
            rows: vec![heads.iter().map(|head| head.to_string()).collect()],
        }
    }

    /// Adds a row, with as many cells as there are heads.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    /// Writes it to the end of `out`, a line per row.
    pub fn write(&self, out: &mut String) {
        if self.rows.len() < 2 {
            return;
        }
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells.map(|(cell, &w)| format!("{cell:w$}")).collect();
            out.push_str(line.join("  ").trim_end());
            out.push('\n');
        }
    }
}
