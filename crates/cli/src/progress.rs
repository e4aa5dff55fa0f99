//! How far a command has come, shown on a terminal and nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of so many bytes, or something that turns where nobody knows how many there will be.
pub(crate) fn bar(total_bytes: Option<u64>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(5);
    let (bar, template) = match total_bytes {
        Some(total) => (
            ProgressBar::with_draw_target(Some(total), target),
            "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        ),
        None => (ProgressBar::with_draw_target(None, target), "{spinner} {bytes}  {bytes_per_sec}  {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
