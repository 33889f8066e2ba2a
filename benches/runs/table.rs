//! The table: medians, extremes, and how many times as long as ours each of the others took. Owns the
//! arithmetic and the columns; must not know how anything was measured.

use crate::process::Cost;

/// What one contender's runs of one kind cost, by round.
pub struct Row {
    /// The contender.
    pub name: String,
    /// Whether it is ours.
    pub ours: bool,
    /// One for each round; those of the same place in different rows are a pair.
    pub costs: Vec<Cost>,
}

/// A heading, and a line for each row.
pub fn print(work: &str, rows: &[Row]) -> String {
    let ours: Vec<&Row> = rows.iter().filter(|row| row.ours).collect();
    let mut text = format!("\n{work:<35}   median      min      max  peak MiB");
    for row in &ours {
        text.push_str(&format!("  × {}", row.name));
    }
    for row in rows {
        text.push_str(&line(row, &ours));
    }
    text.push('\n');
    text
}

fn line(row: &Row, ours: &[&Row]) -> String {
    let seconds = || row.costs.iter().map(|cost| cost.seconds);
    let peak = row.costs.iter().filter_map(|cost| cost.peak).max();
    let peak = peak.map_or("?".to_owned(), |kib| format!("{:.1}", kib as f64 / 1024.0));
    let mut text = format!(
        "\n{:<28}{:>4} runs {:>8.3} {:>8.3} {:>8.3}  {peak:>8}",
        row.name,
        row.costs.len(),
        median(seconds()),
        seconds().fold(f64::INFINITY, f64::min),
        seconds().fold(0.0, f64::max),
    );
    for one in ours {
        let pairs = row.costs.iter().zip(&one.costs);
        let ratio = median(pairs.map(|(this, that)| this.seconds / that.seconds));
        text.push_str(&format!(
            "  {ratio:>width$.2}",
            width = one.name.chars().count() + 2
        ));
    }
    text
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
