//! Advice to users in error texts: about a refused batch, where the broker's error code is not enough, and about a
//! peer that cannot be asked.

use std::fmt;

use kurier_protocol::{CompressionType, ErrorCode, NodeId};

use super::response::Asked;

/// The default of `message.max.bytes`, which holds for topics that do not set `max.message.bytes`.
const MESSAGE_MAX_BYTES: usize = 1_048_588;

/// The question to a user whose peer does not answer.
pub(super) const IS_IT_A_BROKER: &str =
    "is it a Kafka broker, and is this its PLAINTEXT listener, not a SASL or TLS listener?";

/// Describes the refused batch, and the setting to change.
pub(super) fn advice(code: ErrorCode, asked: Asked) -> Option<String> {
    match code {
        ErrorCode::MESSAGE_TOO_LARGE => Some(too_large(asked)),
        ErrorCode::RECORD_LIST_TOO_LARGE => Some(format!(
            "{}: raise segment.bytes of the topic (or log.segment.bytes of the broker), or {}",
            size(asked),
            smaller(asked)
        )),
        ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => unsupported(code, asked),
        _ => None,
    }
}

/// The broker does not say which limit applies, but comparing with the default shows which one is probably set.
fn too_large(asked: Asked) -> String {
    let limit = match asked.bytes > MESSAGE_MAX_BYTES {
        true => format!(
            "that is above {MESSAGE_MAX_BYTES}, Kafka's default of message.max.bytes: raise max.message.bytes of the topic, or \
             message.max.bytes of the broker for topics that do not set their own"
        ),
        false => format!(
            "that is within {MESSAGE_MAX_BYTES}, Kafka's default of message.max.bytes, so the topic probably has a lower \
             max.message.bytes: raise it, or message.max.bytes of the broker if the topic does not set its own"
        ),
    };
    format!("{}; {limit}, or {}", size(asked), smaller(asked))
}

fn size(Asked { record_count, bytes, plain_bytes, codec, .. }: Asked) -> String {
    let content = if record_count == 1 { "a single record".to_owned() } else { format!("{record_count} records") };
    match codec {
        CompressionType::None => format!("the batch of {content} has {bytes} bytes"),
        _ => format!("the batch of {content} has {bytes} bytes, {plain_bytes} before {codec} compressed it"),
    }
}

fn smaller(asked: Asked) -> &'static str {
    if asked.record_count == 1 { "send a smaller record" } else { "lower batch.size" }
}

fn unsupported(code: ErrorCode, Asked { codec, is_idempotent, .. }: Asked) -> Option<String> {
    let mut ways = Vec::new();
    if codec != CompressionType::None {
        ways.push("compression.type=none or another codec");
    }
    if is_idempotent && code == ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT {
        ways.push("enable.idempotence=false, after which a retry may write records twice or out of order");
    }
    let batch = match codec {
        CompressionType::None => "the batch is not compressed".to_owned(),
        _ => format!("the batch is compressed by {codec}"),
    };
    (!ways.is_empty()).then(|| format!("{batch}; set {}, or use a newer broker", ways.join(", or ")))
}

/// Names the address that a node advertises, and the setting that determines it.
pub(super) fn advertised(node: NodeId, address: &impl fmt::Display) -> String {
    format!("node {node} advertises {address} (advertised.listeners on that broker)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_change() {
        let one = Asked {
            record_count: 1,
            bytes: 2_000,
            plain_bytes: 2_000,
            codec: CompressionType::None,
            max_timestamp: 0,
            is_idempotent: true,
            is_head: true,
        };
        let many = Asked { record_count: 7, ..one };
        let large = Asked { bytes: 1_048_589, plain_bytes: 1_048_589, ..one };
        let zipped = Asked { bytes: 900, codec: CompressionType::Zstd, ..many };
        let plain = Asked { is_idempotent: false, ..one };
        for (code, asked, expected) in [
            (
                ErrorCode::MESSAGE_TOO_LARGE,
                one,
                "the batch of a single record has 2000 bytes; that is within 1048588, Kafka's default of \
                 message.max.bytes, so the topic probably has a lower max.message.bytes: raise it, or message.max.bytes of \
                 the broker if the topic does not set its own, or send a smaller record",
            ),
            (
                ErrorCode::MESSAGE_TOO_LARGE,
                large,
                "the batch of a single record has 1048589 bytes; that is above 1048588, Kafka's default of \
                 message.max.bytes: raise max.message.bytes of the topic, or message.max.bytes of the broker for topics that \
                 do not set their own, or send a smaller record",
            ),
            (
                ErrorCode::RECORD_LIST_TOO_LARGE,
                zipped,
                "the batch of 7 records has 900 bytes, 2000 before zstd compressed it: raise segment.bytes of the topic (or \
                 log.segment.bytes of the broker), or lower batch.size",
            ),
            (
                ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
                zipped,
                "the batch is compressed by zstd; set compression.type=none or another codec, or use a newer broker",
            ),
            (
                ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
                zipped,
                "the batch is compressed by zstd; set compression.type=none or another codec, or enable.idempotence=false, \
                 after which a retry may write records twice or out of order, or use a newer broker",
            ),
            (
                ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
                one,
                "the batch is not compressed; set enable.idempotence=false, after which a retry may write records twice or \
                 out of order, or use a newer broker",
            ),
            (ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT, plain, ""),
            (ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, one, ""),
            (ErrorCode::INVALID_RECORD, zipped, ""),
        ] {
            assert_eq!(advice(code, asked).unwrap_or_default(), expected, "{code}");
        }
    }
}
