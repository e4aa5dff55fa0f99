//! Bytes that nobody honest sends: each row is an error of its own kind, at its own place, and costs nothing.

use bytes::Bytes;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::messages::{
    ApiVersionsResponse, CreateTopicsRequest, FindCoordinatorRequest, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use kurier_protocol::record_batch::{
    BATCH_HEADER_BYTES, ControlType, Header, NewRecord, RecordBatch, RecordBatchBuilder, Stamp,
};
use kurier_protocol::{EncodeErrorKind, Message, ParseError, ParseErrorKind as Kind};

#[track_caller]
fn check<M: Message>(version: i16, body: &'static [u8], kind: Kind, offset: usize, field: &str) {
    let error = M::read(&Bytes::from_static(body), version).unwrap_err();
    assert_eq!((error.kind(), error.offset(), error.field()), (&kind, offset, field), "{error}");
    assert_eq!((error.what(), error.version()), (M::SCHEMA.name, version));
}

#[test]
fn versions_from_elsewhere() {
    check::<MetadataResponse>(14, b"", Kind::UnsupportedVersion, 0, "");
    check::<MetadataResponse>(-1, b"", Kind::UnsupportedVersion, 0, "");
    check::<ProduceRequest>(2, b"", Kind::UnsupportedVersion, 0, "");
    let error = MetadataRequest::default().write(14, &mut Vec::new()).unwrap_err();
    assert_eq!(
        (error.what(), error.version(), error.kind()),
        ("MetadataRequest", 14, &EncodeErrorKind::UnsupportedVersion)
    );
}

#[test]
fn counts_that_the_input_cannot_hold() {
    // 8 bytes that once made a client allocate 3.6 GiB.
    check::<MetadataResponse>(3, b"\0\0\0\0\x7f\xff\xff\xff", Kind::CountExceedsInput(0x7fff_ffff), 8, "brokers");
    check::<MetadataResponse>(3, b"\0\0\0\0\xff\xff\xff\xff", Kind::UnexpectedNull, 4, "brokers");
    check::<MetadataResponse>(3, b"\0\0\0\0\xff\xff\xff\xfe", Kind::NegativeLength(-2), 4, "brokers");
    check::<MetadataResponse>(9, b"\0\0\0\0\xff\xff\xff\xff\x0f", Kind::CountExceedsInput(0xffff_fffe), 9, "brokers");
    check::<MetadataResponse>(9, b"\0\0\0\0\0", Kind::UnexpectedNull, 4, "brokers");
    // Two brokers of at least 11 bytes claimed, 21 bytes there.
    check::<MetadataResponse>(9, b"\0\0\0\0\x03aaaaaaaaaaaaaaaaaaaaa", Kind::CountExceedsInput(2), 5, "brokers");
    check::<ApiVersionsResponse>(0, b"\0\0\x00\x00\x00\x02aaaaaaaaaaa", Kind::CountExceedsInput(2), 6, "apiKeys");
}

#[test]
fn strings_and_bytes() {
    check::<SaslHandshakeRequest>(0, b"\xff\xff", Kind::UnexpectedNull, 0, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\xff\xfe", Kind::NegativeLength(-2), 0, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\0\x02a", Kind::Truncated, 2, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\0\x02\xc3\x28", Kind::InvalidUtf8, 2, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\0\x01ab", Kind::TrailingBytes(1), 3, "");
    check::<FindCoordinatorRequest>(3, b"\x81\x80\x02", Kind::StringTooLong(32_768), 3, "key");
    check::<FindCoordinatorRequest>(3, b"\xff\xff\xff\xff\xff\x01", Kind::VarintTooLong, 0, "key");
    check::<SaslAuthenticateResponse>(
        0,
        b"\0\0\xff\xff\x7f\xff\xff\xff",
        Kind::BytesTooLong(0x7fff_ffff),
        8,
        "authBytes",
    );
    check::<SaslAuthenticateResponse>(0, b"\0\0\xff\xff\0\0\0\x02a", Kind::Truncated, 8, "authBytes");
    check::<SaslAuthenticateResponse>(0, b"\0\0\xff\xff\xff\xff\xff\xff", Kind::UnexpectedNull, 4, "authBytes");
}

#[test]
fn nulls_in_the_wrong_version() {
    check::<MetadataRequest>(0, b"\xff\xff\xff\xff", Kind::UnexpectedNull, 0, "topics");
    assert_eq!(MetadataRequest::read(&Bytes::from_static(b"\xff\xff\xff\xff"), 1).unwrap().topics, None);
    let error = MetadataRequest { topics: None, ..Default::default() }.write(0, &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), error.field().as_str()), (&EncodeErrorKind::UnexpectedNull, "topics"));
    // A topic without a name, which version 12 brought.
    check::<MetadataResponse>(
        11,
        b"\0\0\0\0\x01\x00\0\0\0\0\x02\0\0\x00aaaaaaaaaaaaaaaa\0\x01\0\0\0\0\0\0",
        Kind::UnexpectedNull,
        13,
        "topics[0].name",
    );
}

#[test]
fn tagged_fields_out_of_order_or_of_the_wrong_size() {
    // Error, no keys, throttle; then tags from byte 7 on. Tag 1 is an int64, tag 3 a bool.
    let head = |tags: &[u8]| [&[0, 0, 1, 0, 0, 0, 0], tags].concat();
    let read = |tags: &[u8]| ApiVersionsResponse::read(&head(tags).into(), 3);
    let error = |tags: &[u8]| {
        let error = read(tags).unwrap_err();
        (error.kind().clone(), error.offset(), error.field().to_owned())
    };
    let at = |kind, offset, field: &str| (kind, offset, field.to_owned());
    assert_eq!(read(b"\x02\x01\x08\0\0\0\0\0\0\0\x05\x03\x01\x01").unwrap().finalized_features_epoch, 5);
    assert_eq!(error(b"\x02\x03\x01\x01\x01\x08\0\0\0\0\0\0\0\x05"), at(Kind::TagOrder(1), 11, ""));
    assert_eq!(error(b"\x02\x03\x01\x01\x03\x01\x01"), at(Kind::TagOrder(3), 11, ""));
    assert_eq!(error(b"\x01\x03\x02\x01\x01"), at(Kind::TagSize(3), 11, "zkMigrationReady"));
    assert_eq!(error(b"\x02\x03\x02\x01\x01\x63\x00"), at(Kind::TagSize(3), 11, "zkMigrationReady"));
    assert_eq!(error(b"\x01\x01\x07\0\0\0\0\0\0\0"), at(Kind::Truncated, 10, "finalizedFeaturesEpoch"));
    assert_eq!(error(b"\x02\x01\x01\0\x03\x01\x01"), at(Kind::Truncated, 10, "finalizedFeaturesEpoch"));
    assert_eq!(error(b"\x01\x03\xff\xff\xff\xff\x0f\x01"), at(Kind::Truncated, 14, ""));
    assert_eq!(error(b"\xff\xff\xff\xff\x0f"), at(Kind::Truncated, 12, ""));
    // Those that nobody knows are skipped.
    assert!(read(b"\x02\x03\x01\x01\x63\x03abc").unwrap().zk_migration_ready);
    assert_eq!(error(b"\x02\x63\x03abc\x62\x00"), at(Kind::TagOrder(0x62), 13, ""));
}

#[test]
fn a_frame_of_empty_elements_does_not_cost_twenty_frames() {
    // A topic without name and partitions takes three bytes, and in memory sixty-four.
    let count = 300_000u32;
    let mut body = vec![];
    let mut length = count + 1;
    while length >= 0x80 {
        body.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    body.push(length.to_le_bytes()[0]);
    body.extend(b"\x01\x01\x00".repeat(count as usize));
    body.extend(b"\0\0\0\0\0");
    let error = ProduceResponse::read(&body.into(), 9).unwrap_err();
    assert!(matches!(error.kind(), Kind::MemoryExceedsInput(memory) if *memory > 19_000_000), "{error}");
    assert_eq!((error.offset(), error.field()), (3, "responses"));
}

#[test]
fn a_token_is_short_and_shown_by_its_size() {
    let body = |len: u32| [&len.to_be_bytes()[..], &vec![b'x'; len as usize]].concat();
    let read = |len| SaslAuthenticateRequest::read(&body(len).into(), 0);
    assert_eq!(
        format!("{:?}", read(64 * 1024).unwrap()),
        "SaslAuthenticateRequest { auth_bytes: Secret(65536 bytes) }"
    );
    let error = read(64 * 1024 + 1).unwrap_err();
    assert_eq!((error.kind(), error.field()), (&Kind::BytesTooLong(65_537), "authBytes"));
}

#[test]
fn payload_is_shown_by_its_size() {
    let mut builder = RecordBatchBuilder::new();
    let headers = [Header { key: b"secret", value: Some(b"secret") }];
    let record = NewRecord { timestamp: 5, key: Some(b"secret"), value: Some(b"secret"), headers: &headers };
    let mut shown = format!("{record:?}{:?}", builder.slot(&record).unwrap());
    builder.append(&record).unwrap();
    shown += &format!("{builder:?}");
    let sealed = builder.seal().unwrap();
    let records = sealed.stamp(&Stamp::NONE).unwrap();
    let bytes = records.to_bytes();
    let (batch, _) = RecordBatch::parse(&bytes).unwrap();
    let iter = batch.records().unwrap();
    shown += &format!("{sealed:?}{records:?}{batch:?}{iter:?}{:?}", iter.clone().next().unwrap().unwrap());
    assert!(!shown.contains("secret") && !shown.contains("115, 101"), "{shown}");
}

#[test]
fn what_a_version_cannot_carry_is_not_dropped_in_silence() {
    let write = |request: &FindCoordinatorRequest, version| {
        request.write(version, &mut Vec::new()).map_err(|error| (error.kind().clone(), error.field()))
    };
    let request = FindCoordinatorRequest { coordinator_keys: vec!["a".to_owned()], ..Default::default() };
    assert_eq!(write(&request, 3), Err((EncodeErrorKind::NotInVersion, "coordinatorKeys".to_owned())));
    assert_eq!(write(&request, 4), Ok(()));
    // Kafka calls the throttle time of an answer ignorable.
    let response = CreateTopicsRequest { validate_only: true, ..Default::default() };
    assert!(response.write(2, &mut Vec::new()).is_ok());
    let response = MetadataResponse { throttle_time_ms: 5, ..Default::default() };
    assert!(response.write(0, &mut Vec::new()).is_ok());
}

#[test]
fn a_length_that_its_prefix_cannot_say_is_named_with_its_field() {
    for version in [3, 9] {
        let mut request = ProduceRequest::default();
        request.topic_data.push(TopicProduceData { name: "x".repeat(32_768), ..Default::default() });
        let error = request.write(version, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), &EncodeErrorKind::TooLong(32_768));
        assert_eq!(
            error.to_string(),
            format!("ProduceRequest v{version}: a length of 32768 does not fit its prefix, in topicData[0].name")
        );
        request.topic_data[0].name.pop();
        request.topic_data[0].partition_data.push(PartitionProduceData::default());
        assert!(request.write(version, &mut Vec::new()).is_ok());
    }
}

#[test]
fn errors_read_as_sentences() {
    let error = MetadataResponse::read(&Bytes::from_static(b"\0\0\0\0\x02\0\0\0\x07\x06kafka\0\0"), 9).unwrap_err();
    assert_eq!(
        error.to_string(),
        "MetadataResponse v9: the input ends inside this value, at byte 15, in brokers[0].port"
    );
}

/// A batch of one record, and what `damage` makes of it.
fn batch(damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut builder = RecordBatchBuilder::new();
    let headers = [Header { key: b"h", value: None }];
    builder.append(&NewRecord { timestamp: 5, key: Some(b"key"), value: Some(b"value"), headers: &headers }).unwrap();
    let mut bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes().to_vec();
    damage(&mut bytes);
    bytes
}

/// Makes length and checksum right again.
fn mend(bytes: &mut [u8]) {
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The first error that reading the batch and all its records gives.
fn first_error(bytes: &[u8]) -> Option<ParseError> {
    let batch = match RecordBatch::parse(bytes) {
        Ok((batch, _)) => batch,
        Err(error) => return Some(error),
    };
    match batch.records() {
        Ok(records) => records.filter_map(Result::err).next(),
        Err(error) => Some(error),
    }
}

#[test]
fn batch_headers_that_lie() {
    let kind = |damage: &dyn Fn(&mut Vec<u8>)| first_error(&batch(damage)).map(|error| error.kind().clone());
    let put =
        |at: usize, bytes: &'static [u8]| move |batch: &mut Vec<u8>| batch[at..at + bytes.len()].copy_from_slice(bytes);
    let mended = |at: usize, bytes: &'static [u8]| {
        move |batch: &mut Vec<u8>| {
            batch[at..at + bytes.len()].copy_from_slice(bytes);
            mend(batch);
        }
    };
    assert_eq!(kind(&|_| ()), None);
    assert_eq!(kind(&put(8, b"\x80\0\0\0")), Some(Kind::BatchLength(i32::MIN)));
    assert_eq!(kind(&put(8, b"\0\0\0\x30")), Some(Kind::BatchLength(48)));
    assert_eq!(kind(&put(8, b"\x7f\xff\xff\xff")), Some(Kind::Truncated));
    assert_eq!(kind(&put(16, b"\x01")), Some(Kind::UnsupportedVersion));
    assert!(matches!(kind(&put(17, b"abcd")), Some(Kind::Crc { stored: 0x6162_6364, .. })));
    assert_eq!(kind(&mended(57, b"\xff\xff\xff\xff")), Some(Kind::RecordCount(-1)));
    assert_eq!(kind(&mended(57, b"\x7f\xff\xff\xff")), Some(Kind::RecordCount(0x7fff_ffff)));
    assert_eq!(kind(&mended(57, b"\0\0\0\x02")), Some(Kind::RecordCount(2)), "more than the last offset allows");
    assert_eq!(kind(&mended(23, b"\xff\xff\xff\xff")), Some(Kind::RecordCount(1)));
    assert_eq!(kind(&mended(57, b"\0\0\0\0")), Some(Kind::TrailingBytes(18)), "a record that nobody counted");
    assert_eq!(kind(&mended(22, b"\x03")), Some(Kind::Compressed));
    assert_eq!(kind(&mended(0, b"\x7f\xff\xff\xff\xff\xff\xff\xff")), None, "the highest offset there is");
    assert_eq!(first_error(&batch(put(16, b"\x01"))).unwrap().offset(), 16);
    // A last offset beyond the count is what compaction leaves.
    assert_eq!(kind(&mended(23, b"\0\0\x01\0")), None);
}

#[test]
fn every_flipped_byte_under_the_checksum_is_found() {
    let whole = batch(|_| ());
    for at in 21..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        assert!(matches!(first_error(&bytes).unwrap().kind(), Kind::Crc { .. }), "byte {at}");
    }
    for len in 0..whole.len() {
        assert_eq!(first_error(&whole[..len]).unwrap().kind(), &Kind::Truncated, "{len} bytes");
    }
}

#[test]
fn records_that_lie() {
    let of = |record: &[u8]| {
        let error = first_error(&batch(|bytes| {
            bytes.truncate(BATCH_HEADER_BYTES);
            bytes.extend_from_slice(record);
            mend(bytes);
        }));
        error.map(|error| (error.kind().clone(), error.field().to_owned()))
    };
    let at = |kind, field: &str| Some((kind, format!("records[0]{field}")));
    // Length, attributes, timestamp delta, offset delta, key, value, headers.
    assert_eq!(of(b"\x0c\0\0\0\x01\x01\0"), None);
    assert_eq!(of(b"\0\0\0\0\0\0\0"), at(Kind::Truncated, ""), "of length 0");
    assert_eq!(of(b"\x01\0\0\0\x01\x01\0"), at(Kind::RecordLength(-1), ""));
    assert_eq!(of(b"\x0e\0\0\0\x01\x01\0"), at(Kind::RecordLength(7), ""));
    assert_eq!(of(b"\x0e\0\0\0\x01\x01\0a"), at(Kind::RecordLength(7), ""), "a byte too many");
    assert_eq!(of(b"\x0c\0\0\0\x03\x01\0"), at(Kind::NegativeLength(-2), ".key"));
    assert_eq!(of(b"\x0c\0\0\0\x40\x01\0"), at(Kind::Truncated, ".key"));
    assert_eq!(of(b"\x0c\0\0\0\x01\x06\0"), at(Kind::Truncated, ".value"));
    assert_eq!(of(b"\x0c\0\0\0\x01\x01\x01"), at(Kind::NegativeLength(-1), ".headers"));
    assert_eq!(of(b"\x0c\0\0\0\x01\x01\x7e"), at(Kind::CountExceedsInput(63), ".headers"));
    assert_eq!(of(b"\x10\0\0\0\x01\x01\x02\x01\x01"), at(Kind::UnexpectedNull, ".headers[0]"));
    assert_eq!(of(b"\x10\0\0\0\x01\x01\x02\x00\x02"), at(Kind::Truncated, ".headers[0]"));
    assert_eq!(of(b"\x14\0\0\xff\xff\xff\xff\x1f\x01\x01\0"), at(Kind::VarintTooLong, ".offsetDelta"));
    assert_eq!(of(b"\x0c\0\0\x01\x01\x01\0"), at(Kind::OffsetDelta(-1), ".offsetDelta"));
    assert_eq!(of(b"\x0c\0\0\x02\x01\x01\0"), at(Kind::OffsetDelta(1), ".offsetDelta"), "beyond the last");
    // The base timestamp is 5: the largest delta leads beyond 64 bits.
    assert_eq!(
        of(b"\x1e\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x01\x01\0"),
        at(Kind::Overflow, ".timestampDelta")
    );
    assert_eq!(of(b"\x0c\0\0\0\x01\x01\0a"), Some((Kind::TrailingBytes(1), "records[1]".to_owned())));
}

#[test]
fn an_error_in_a_record_says_where_in_the_body() {
    let bytes = batch(|bytes| {
        bytes.truncate(BATCH_HEADER_BYTES);
        bytes.extend_from_slice(b"\x0c\0\0\0\x40\x01\0");
        mend(bytes);
    });
    let error = first_error(&bytes).unwrap();
    assert_eq!(
        error.to_string(),
        "RecordBatch body v2: the input ends inside this value, at byte 5, in records[0].key"
    );
}

#[test]
fn offsets_ascend() {
    let two = |first: u8, second: u8| {
        let bytes = batch(|bytes| {
            bytes.truncate(BATCH_HEADER_BYTES);
            bytes[23..27].copy_from_slice(&9i32.to_be_bytes());
            bytes[57..61].copy_from_slice(&2i32.to_be_bytes());
            bytes.extend_from_slice(&[12, 0, 0, first << 1, 1, 1, 0, 12, 0, 0, second << 1, 1, 1, 0]);
            mend(bytes);
        });
        first_error(&bytes).map(|error| (error.kind().clone(), error.field().to_owned()))
    };
    assert_eq!(two(0, 1), None);
    assert_eq!(two(3, 9), None, "with the gaps of compaction");
    assert_eq!(two(3, 3), Some((Kind::OffsetDelta(3), "records[1].offsetDelta".to_owned())));
    assert_eq!(two(3, 2), Some((Kind::OffsetDelta(2), "records[1].offsetDelta".to_owned())));
    assert_eq!(two(3, 10), Some((Kind::OffsetDelta(10), "records[1].offsetDelta".to_owned())));
}

#[test]
fn timestamps_forty_days_and_all_of_time_apart() {
    let days = 40 * 24 * 3600 * 1000;
    let mut builder = RecordBatchBuilder::new();
    for timestamp in [1_700_000_000_000, 1_700_000_000_000 - days, 1_700_000_000_000 + days, 0] {
        builder.append(&NewRecord { timestamp, ..Default::default() }).unwrap();
    }
    assert_eq!(builder.max_timestamp(), 1_700_000_000_000 + days);
    let bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
    let timestamps: Vec<_> =
        RecordBatch::parse(&bytes).unwrap().0.records().unwrap().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(timestamps, [1_700_000_000_000, 1_700_000_000_000 - days, 1_700_000_000_000 + days, 0]);

    let mut builder = RecordBatchBuilder::new();
    builder.append(&NewRecord { timestamp: -2, ..Default::default() }).unwrap();
    let error = builder.append(&NewRecord { timestamp: i64::MAX, ..Default::default() }).unwrap_err();
    assert_eq!((error.kind(), error.field().as_str()), (&EncodeErrorKind::Overflow, "timestamp"));
    assert_eq!(builder.record_count(), 1, "refused, and nothing of it kept");
}

#[test]
fn control_batches_and_append_time_are_recognised() {
    let bytes = batch(|bytes| {
        bytes[22] = 0x38; // LogAppendTime, transactional, control
        bytes[35..43].copy_from_slice(&99i64.to_be_bytes());
        bytes.truncate(BATCH_HEADER_BYTES);
        bytes.extend_from_slice(b"\x14\0\0\0\x08\0\0\0\x01\x01\0");
        mend(bytes);
    });
    let (batch, _) = RecordBatch::parse(&bytes).unwrap();
    let attributes = batch.header().attributes;
    assert!(attributes.is_control() && attributes.is_transactional() && attributes.is_log_append_time());
    let record = batch.records().unwrap().next().unwrap().unwrap();
    assert_eq!(record.control_type(), Some(ControlType::Commit));
    assert_eq!(record.timestamp, 99, "the time of the append, which the broker writes as the highest");
}
