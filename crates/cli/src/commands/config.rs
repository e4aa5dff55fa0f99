//! `kurier config`: prints the settings in force, their origins, and which of them were adjusted or have no effect.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use kurier::{Explained, Origin};
use serde::Serialize;

use crate::exit::Misuse;
use crate::notice::printable;
use crate::options::Options;

/// Print the settings of a producer: each value in force, its origin, and whether and why it was adjusted or ignored.
///
/// Without --all, settings that keep their defaults are left out. Nothing connects, and no file of a key, certificate
/// or password is read. Secrets are printed as [hidden]. Wrong settings are an error, with exit status 2.
///
/// On a terminal the output is a table. Otherwise it has a line per setting: key, value, origin and note, separated by
/// tabs.
#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(flatten)]
    options: Options,

    /// Also print the settings that keep their defaults.
    #[arg(short, long)]
    all: bool,

    /// Print a JSON object per setting: key, value, default, origin and note. The value of an ignored key is null.
    #[arg(long)]
    json: bool,
}

/// One setting in the output.
#[derive(Serialize)]
struct Line {
    key: String,
    value: Option<String>,
    default: Option<String>,
    origin: String,
    note: Option<String>,
}

impl From<Explained> for Line {
    fn from(explained: Explained) -> Self {
        let origin = match explained.origin {
            Origin::Code => "command line".to_owned(),
            origin => origin.to_string(),
        };
        let Explained { key, value, default, note, .. } = explained;
        Self { key, value, default, origin, note }
    }
}

impl Line {
    fn columns(&self) -> [String; 4] {
        let shown = |text: Option<&str>| printable(text.unwrap_or_default());
        [Some(self.key.as_str()), self.value.as_deref(), Some(&self.origin), self.note.as_deref()].map(shown)
    }
}

impl Config {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<()> {
        let config = self.options.config([])?.check().map_err(Misuse::of)?;
        let is_shown = |line: &Explained| self.all || line.origin != Origin::Default || line.note.is_some();
        let lines: Vec<Line> = config.explain().into_iter().filter(is_shown).map(Line::from).collect();
        if self.json {
            for line in lines {
                serde_json::to_writer(&mut *out, &line)?;
                writeln!(out)?;
            }
            return Ok(());
        }
        let rows = lines.iter().map(Line::columns);
        if io::stdout().is_terminal() { table(rows.collect(), out) } else { tabs(rows, out) }
    }
}

/// Prints rows whose columns are separated by tabs.
fn tabs(rows: impl Iterator<Item = [String; 4]>, out: &mut impl Write) -> Result<()> {
    for row in rows {
        writeln!(out, "{}", row.join("\t"))?;
    }
    Ok(())
}

/// Prints rows below a heading, with aligned columns.
fn table(mut rows: Vec<[String; 4]>, out: &mut impl Write) -> Result<()> {
    /// A longer text shifts the rest of its row only.
    const WIDTH_MAX: usize = 50;
    rows.insert(0, ["KEY", "VALUE", "ORIGIN", "NOTE"].map(str::to_owned));
    let width = |column: fn(&[String; 4]) -> &String| {
        let widths = rows.iter().map(|row| column(row).chars().count());
        widths.max().unwrap_or_default().min(WIDTH_MAX)
    };
    let (keys, values, origins) =
        (width(|[key, ..]| key), width(|[_, value, ..]| value), width(|[.., origin, _]| origin));
    for [key, value, origin, note] in &rows {
        let row = format!("{key:keys$}  {value:values$}  {origin:origins$}  {note}");
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_aligned_columns() {
        let rows = [["linger.ms", "20", "command line", ""], ["acks", "all", "a.properties:2", "ignored: so"]];
        let mut out = Vec::new();
        table(rows.map(|row| row.map(str::to_owned)).to_vec(), &mut out).unwrap();
        let lines = [
            "KEY        VALUE  ORIGIN          NOTE",
            "linger.ms  20     command line",
            "acks       all    a.properties:2  ignored: so",
        ];
        assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), lines);
    }
}
