//! The results: a line for each capture, and the number of differences.

use std::collections::BTreeSet;
use std::fmt;

use crate::agreement::{Agreement, name};
use crate::records::Written;

/// Limit on the differences to print per capture; the rest would add nothing.
const TOLD_MAX: usize = 5;

/// A line of the table.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) captures: usize,
    pub(crate) frames: usize,
    pub(crate) agreement: Agreement,
    /// Records in the capture that the broker acknowledged.
    pub(crate) records: usize,
    /// Number of those records that kcat read back unchanged, at the same offset.
    pub(crate) read_back: usize,
    pub(crate) differences: Vec<String>,
}

/// Collects the lines of all captures.
#[derive(Debug)]
pub(crate) struct Verdict {
    judge: String,
    sum: Row,
}

impl Verdict {
    /// Prints the head of the table; `judge` is tshark's version.
    pub(crate) fn new(judge: String) -> Self {
        println!(
            "\n{:<43} {:>6} {:>6} {:>7} {:>8} {:>9} {:>6} {:>6} {:>7} {:>7}",
            "capture", "frames", "heads", "id only", "unknown", "responses", "errors", "not 0", "records", "by kcat"
        );
        Self { judge, sum: Row::default() }
    }

    /// Prints a line and its differences.
    pub(crate) fn add(&mut self, name: &str, row: Row) {
        println!("{name:<43} {row}");
        let differences = || row.agreement.differences.iter().chain(&row.differences);
        for difference in differences().take(TOLD_MAX) {
            println!("  {difference}");
        }
        if let Some(more) = differences().count().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            println!("  and {more} more");
        }
        self.sum.captures += row.captures;
        self.sum.frames += row.frames;
        self.sum.agreement += row.agreement;
        self.sum.records += row.records;
        self.sum.read_back += row.read_back;
        self.sum.differences.extend(row.differences);
    }

    /// Prints the sum, and the versions that tshark does not know. Returns the number of differences.
    pub(crate) fn end(self) -> usize {
        let Self { judge, sum } = self;
        println!("{:<43} {sum}", format!("all {}", sum.captures));
        let unknown = &sum.agreement.unknown;
        let unknown: Vec<_> =
            unknown.iter().map(|((api, version), count)| format!("{} v{version} {count}", name(*api))).collect();
        println!("frames of versions that {judge} does not know: {}", unknown.join(", "));
        println!("frames of SaslAuthenticate v0 and v1 that it misreads: {}", sum.agreement.misread);
        let differences = sum.agreement.differences.len() + sum.differences.len();
        println!("differences: {differences}");
        differences
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, agreement, records, read_back, .. } = self;
        let Agreement { heads, ids_only, responses, errors, failures, unknown, .. } = agreement;
        let unknown: usize = unknown.values().sum();
        // This test does not read the committed captures' records back.
        let [records, read_back] = [records, read_back].map(|count| match records {
            0 => "-".to_owned(),
            _ => count.to_string(),
        });
        write!(
            f,
            "{frames:>6} {heads:>6} {ids_only:>7} {unknown:>8} {responses:>9} {errors:>6} {failures:>6} {records:>7} \
             {read_back:>7}"
        )
    }
}

/// Describes how captured records differ from those read back. Both are in the order of [`Written`].
pub(crate) fn differences(captured: &[Written], read: &[Written]) -> Vec<String> {
    if captured == read {
        return Vec::new();
    }
    let [in_capture, in_topic]: [BTreeSet<_>; 2] = [captured, read].map(|records| records.iter().collect());
    let told = |whose: &str, record: &Written| format!("{whose} alone: {record:?}");
    let mut differences: Vec<_> = in_capture.difference(&in_topic).map(|record| told("the capture", record)).collect();
    differences.extend(in_topic.difference(&in_capture).map(|record| told("kcat", record)));
    if captured.len() != read.len() {
        differences.push(format!("{} records captured, {} read by kcat", captured.len(), read.len()));
    }
    differences
}
