//! Plain text tables and numbers for people.

use std::fmt::Write as _;

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Columns sized to their content.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(), rows: Vec::new() }
    }
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// The table, each line indented by `indent` spaces.
    pub fn render(&self, indent: usize) -> String {
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
            cells.chain([self.columns[index].0.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        let header: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let headed = header.iter().any(|name| !name.is_empty());
        for row in headed.then_some(&header).into_iter().chain(&self.rows) {
            let mut line = " ".repeat(indent);
            for (index, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[index].saturating_sub(cell.chars().count()));
                match self.columns[index].1 {
                    Align::Left => line.push_str(&format!("{cell}{pad}")),
                    Align::Right => line.push_str(&format!("{pad}{cell}")),
                }
                line.push_str("  ");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0.4567` as `45.7 %`.
pub fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

/// `part` of `whole` as a percentage; a dash when there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { percent(part as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (count(0), count(999), count(1000), count(1_234_567)),
            ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!(percent(0.4567), "45.7 %");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("reason", Align::Left), ("people", Align::Right)]);
        table.row(["objection".into(), "12".into()]);
        table.row(["é".into(), "1,200".into()]);
        assert_eq!(table.render(2), "  reason     people\n  objection      12\n  é           1,200\n");
    }
}
