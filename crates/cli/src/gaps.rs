//! Messages about what a capture lacks.

use kurier_capture::Reader;

use crate::notice;

/// Says what a capture lacks. Its reader has returned this many frames, and has none left.
pub(crate) fn say(name: &str, frames: u64, reader: &Reader<'_>) {
    let skipped = reader.skipped_bytes();
    if skipped > 0 || frames == 0 {
        notice::say(format_args!(
            "{name}: {frames} frames in {} connections; {skipped} bytes belong to none: the beginning of a connection or \
             packets were not captured, or it is not Kafka's, or encrypted",
            reader.connections()
        ));
    }
    if reader.is_cut() {
        notice::say(format_args!("{name} ends in the middle of a packet"));
    }
}
