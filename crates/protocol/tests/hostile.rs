//! Tests with hostile bytes: each row is an error of its own kind, at its own position, without cost.
//!
//! Test names begin with the attacked part: `frame_length`, `header`, `varints`, `strings`, `bytes`, `arrays`,
//! `nesting`, `tagged_fields`, `api_versions`, `sasl_bytes`, `record_batch`, `our_own_encoder`. Tests of the codecs are
//! in crates/compression/tests/hostile.rs, tests of response contents in crates/client/src/core/tests/hostile.rs.
//! memory.rs counts allocations. Bytes that once crashed another client or server have the number.

use bytes::Bytes;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::messages::{
    AddPartitionsToTxnRequest, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, FindCoordinatorRequest,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest,
};
use kurier_protocol::record_batch::{
    BATCH_HEADER_BYTES, ControlType, Header, NewRecord, RecordBatch, RecordBatchBuilder, Stamp,
};
use kurier_protocol::schema::{Struct, Type};
use kurier_protocol::{
    APIS, EncodeErrorKind, ErrorCode, FrameBuffer, FrameError, Message, ParseError, ParseErrorKind as Kind, Records,
    ResponseHeader, Secret, read_response, write_request,
};

#[track_caller]
fn check<M: Message>(version: i16, body: &'static [u8], kind: Kind, offset: usize, field: &str) {
    let error = M::read(&Bytes::from_static(body), version).unwrap_err();
    assert_eq!((error.kind(), error.offset(), error.field()), (&kind, offset, field), "{error}");
    assert_eq!((error.what(), error.version()), (M::SCHEMA.name, version));
}

#[test]
fn frame_length_is_at_least_4_and_at_most_the_limit() {
    const LIMITS: [usize; 2] = [FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES, FrameBuffer::DEFAULT_LIMIT_BYTES];
    assert_eq!(LIMITS, [1 << 20, 100 << 20]);
    let read = |head: &[u8], limit| {
        let mut buffer = FrameBuffer::new(limit);
        buffer.extend(head);
        buffer.next_frame()
    };
    for limit in LIMITS {
        for (head, error) in [
            (&b"\xff\xff\xff\xff"[..], FrameError::TooShort { claimed: -1 }),
            (b"\x80\0\0\0", FrameError::TooShort { claimed: i32::MIN }),
            (b"\0\0\0\0", FrameError::TooShort { claimed: 0 }),
            (b"\0\0\0\x01", FrameError::TooShort { claimed: 1 }),
            (b"\0\0\0\x02", FrameError::TooShort { claimed: 2 }),
            (b"\0\0\0\x03", FrameError::TooShort { claimed: 3 }),
            (b"\x06\x40\0\x01", FrameError::TooLong { claimed: (100 << 20) + 1, limit }),
            (b"\x7f\xff\xff\xff", FrameError::TooLong { claimed: 0x7fff_ffff, limit }),
            // A TLS alert and handshake, which other clients take for a frame of 352 MB, and an HTTP response.
            (b"\x15\x03\x03\x01", FrameError::Tls),
            (b"\x15\x03\x03\x00\x02\x02\x46", FrameError::Tls),
            (b"\x16\x03\x01\x02\x00", FrameError::Tls),
            (b"HTTP/1.1 400 Bad Request", FrameError::Http),
        ] {
            assert_eq!(read(head, limit), Err(error), "{head:?}");
        }
        let claims = |len: usize| u32::try_from(len).unwrap().to_be_bytes();
        assert_eq!(read(&claims(limit), limit), Ok(None), "the limit itself is allowed");
        let error = FrameError::TooLong { claimed: limit + 1, limit };
        assert_eq!(read(&claims(limit + 1), limit), Err(error));
    }
    // Without a limit, the same bytes are accepted as a length.
    assert_eq!(read(b"HTTP", usize::MAX), Ok(None));
    let advice = "the peer answered with TLS: this is a TLS port; set security.protocol=SSL, or SASL_SSL with SASL";
    assert_eq!(FrameError::Tls.to_string(), advice);
}

/// dpkp/kafka-python #3014 and thomhurst/Dekaf #893: the first four bytes determined the allocation.
#[test]
fn frame_length_claims_do_not_grow_the_buffer() {
    let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
    buffer.extend(&(100u32 << 20).to_be_bytes());
    for _ in 0..64 {
        assert_eq!(buffer.next_frame(), Ok(None));
        let room = buffer.room();
        assert!(room.capacity() - room.len() >= FrameBuffer::ROOM_BYTES / 2);
        assert!(room.capacity() <= 2 * room.len() + 2 * FrameBuffer::ROOM_BYTES, "{}", room.capacity());
        let len = room.len() + 10_000;
        room.resize(len, 0);
    }
}

#[test]
fn header_of_response_is_flexible_except_for_api_versions() {
    for api in APIS {
        for version in api.versions() {
            let read = |frame: &[u8]| ResponseHeader::read(&Bytes::copy_from_slice(frame), api, version);
            let about = format!("{} v{version}", api.name());
            let is_flexible = api.response_header_version(version) == 1;
            assert_eq!(is_flexible, api.request_header_version(version) == 2 && api.name() != "ApiVersions", "{about}");
            for len in 0..4 {
                assert_eq!(read(&[0; 4][..len]).unwrap_err().kind(), &Kind::Truncated, "{about}");
            }
            // The same bytes are either a tag of two bytes or the start of the body.
            let (header, body) = read(b"\0\0\0\x07\x01\x05\x02abc").unwrap();
            assert_eq!(header.correlation_id.0, 7);
            assert_eq!(body, if is_flexible { &b"c"[..] } else { b"\x01\x05\x02abc" }, "{about}");
            // Tags that are missing, out of order, or longer than the frame.
            for tags in
                [&b""[..], b"\xff\xff\xff\xff\x0f", b"\x02\x05\0\x05\0", b"\x01\x05\x7fa", b"\x80\x80\x80\x80\x80\0"]
            {
                assert_eq!(read(&[b"\0\0\0\x07", tags].concat()).is_err(), is_flexible, "{about} {tags:?}");
            }
        }
    }
}

/// KIP-511: a broker that does not know the version answers in version 0 with UNSUPPORTED_VERSION.
#[test]
fn api_versions_in_version_0_is_read_only_if_it_is_a_refusal() {
    for version in 0..=5 {
        let read = |frame: &'static [u8]| read_response::<ApiVersionsRequest>(&Bytes::from_static(frame), version);
        let (_, response) = read(b"\0\0\0\x07\0\x23\0\0\0\x01\0\x12\0\0\0\x04").unwrap();
        assert_eq!((response.error_code, response.api_keys.len()), (ErrorCode::UNSUPPORTED_VERSION, 1));
        let (_, response) = read(b"\0\0\0\x07\0\x23\0\0\0\0").unwrap();
        assert_eq!(response.api_keys, []);
        assert_eq!(read(b"\0\0\0\x07\0\0\0\0\0\x01\0\x12\0\0\0\x04").is_ok(), version == 0);
        assert!(read(b"\0\0\0\x07\0\x23\x7f\xff\xff\xff").is_err());
        assert!(read(b"\0\0\0\x07\0\x23").is_err() && read(b"\0\0\0\x07\0").is_err());
    }
}

#[test]
fn varints_have_5_bytes_and_10_and_no_bit_too_many() {
    // Unsigned, as the length of a key.
    check::<FindCoordinatorRequest>(3, b"\x80\x80\x80\x80\x80\0", Kind::VarintTooLong, 0, "key");
    check::<FindCoordinatorRequest>(3, b"\xff\xff\xff\xff\xff\x01", Kind::VarintTooLong, 0, "key");
    check::<FindCoordinatorRequest>(3, b"\xff\xff\xff\xff\x10", Kind::VarintTooLong, 0, "key");
    check::<FindCoordinatorRequest>(3, b"\xff\xff\xff\xff\x1f", Kind::VarintTooLong, 0, "key");
    check::<FindCoordinatorRequest>(3, b"\x80\x80\x80\x80", Kind::Truncated, 4, "key");
    check::<FindCoordinatorRequest>(3, b"", Kind::Truncated, 0, "key");
    // Superfluous zeros within the limit are accepted.
    let key = FindCoordinatorRequest::read(&Bytes::from_static(b"\x82\x80\x80\x80\0a\0\0"), 3).unwrap().key;
    assert_eq!(key, "a");

    // Signed, of 32 and of 64 bits: a record's length and its timestamp delta.
    let of = |length: &[u8], timestamp_delta: &[u8]| {
        let error = first_error(&batch_of(1, &[length, b"\0", timestamp_delta, b"\0\x01\x01\0"].concat()));
        error.map(|error| (error.kind().clone(), error.field().to_owned()))
    };
    let too_long = |field: &str| Some((Kind::VarintTooLong, format!("records[0]{field}")));
    let nine = |byte| [byte; 9];
    assert_eq!(of(b"\x8c\x80\x80\x80\0", b"\0"), None, "needless zeros");
    assert_eq!(of(b"\x8c\x80\x80\x80\x80\0", b"\0"), too_long(""), "six bytes");
    assert_eq!(of(b"\xff\xff\xff\xff\x1f", b"\0"), too_long(""), "33 bits");
    assert_eq!(of(b"\x1e", &[&nine(0x80)[..], b"\0"].concat()), None, "needless zeros");
    assert_eq!(of(b"\x20", &[&nine(0x80)[..], b"\x80\0"].concat()), too_long(".timestampDelta"), "eleven bytes");
    assert_eq!(of(b"\x1e", &[&nine(0xff)[..], b"\x02"].concat()), too_long(".timestampDelta"), "65 bits");
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
fn arrays_have_no_more_elements_than_the_input_can_hold() {
    // Three bytes and these five made a decoder allocate 3.6 GiB (kafka-protocol-rs #152, similar to #161 and #200).
    // segmentio/kafka-go #1439, IBM/sarama #2658 and rskafka #64 also used a count of 32 bits as a capacity.
    check::<MetadataRequest>(0, b"\x03\x3c\x0c\x00\xb6", Kind::CountExceedsInput(54_266_880), 4, "topics");
    check::<MetadataResponse>(3, b"\0\0\0\0\x7f\xff\xff\xff", Kind::CountExceedsInput(0x7fff_ffff), 8, "brokers");
    check::<MetadataResponse>(3, b"\0\0\0\0\xff\xff\xff\xff", Kind::UnexpectedNull, 4, "brokers");
    check::<MetadataResponse>(3, b"\0\0\0\0\xff\xff\xff\xfe", Kind::NegativeLength(-2), 4, "brokers");
    check::<MetadataResponse>(9, b"\0\0\0\0\xff\xff\xff\xff\x0f", Kind::CountExceedsInput(0xffff_fffe), 9, "brokers");
    check::<MetadataResponse>(9, b"\0\0\0\0\0", Kind::UnexpectedNull, 4, "brokers");
    // The count claims two brokers of at least 11 bytes, but only 21 bytes follow.
    check::<MetadataResponse>(9, b"\0\0\0\0\x03aaaaaaaaaaaaaaaaaaaaa", Kind::CountExceedsInput(2), 5, "brokers");
    check::<ApiVersionsResponse>(0, b"\0\0\x00\x00\x00\x02aaaaaaaaaaa", Kind::CountExceedsInput(2), 6, "apiKeys");
}

/// confluentinc/librdkafka #5577 and #5601: -1 was accepted where null is not allowed, and became a size.
#[test]
fn arrays_of_minus_one_element_are_refused_where_null_is_not_allowed() {
    check::<ApiVersionsResponse>(0, b"\0\0\xff\xff\xff\xff", Kind::UnexpectedNull, 2, "apiKeys");
    check::<ApiVersionsResponse>(3, b"\0\0\0\0\0\0\0\0", Kind::UnexpectedNull, 2, "apiKeys");
    check::<ProduceResponse>(
        8,
        b"\0\0\0\x01\0\x01t\0\0\0\x01aaaabbccccccccddddddddeeeeeeee\xff\xff\xff\xff\xff\xff\0\0\0\0",
        Kind::UnexpectedNull,
        41,
        "responses[0].partitionResponses[0].recordErrors",
    );
    check::<ProduceResponse>(10, b"\x01\0\0\0\0\x01\0\x01\0", Kind::UnexpectedNull, 8, "nodeEndpoints");
}

/// segmentio/kafka-go #1439: another service's response was parsed, and its letters became counts.
#[test]
fn arrays_in_responses_of_other_services_are_refused() {
    for said in [&b"220 mail.example.org ESMTP\r\n"[..], b"SSH-2.0-OpenSSH_9.6\r\n", b"\xff\xfb\x01\xff\xfb\x03login: "]
    {
        for api in APIS {
            for version in api.versions() {
                let read = api.response().read(&Bytes::copy_from_slice(said), version);
                assert!(read.is_err(), "{} v{version} of {said:?}", api.name());
            }
        }
    }
}

#[test]
fn nesting_depth_comes_from_the_schema_only() {
    fn depth(of: &Struct, above: usize) -> usize {
        assert!(above < 10, "{} may be within itself", of.name);
        let within = |ty: &Type| {
            let mut ty = ty;
            while let Type::Array(element) = ty {
                ty = element;
            }
            if let Type::Struct(inner) = ty { depth(inner, above + 1) } else { above }
        };
        of.fields.iter().map(|field| within(&field.ty)).max().unwrap_or(above)
    }
    let schemas = APIS.iter().flat_map(|api| [api.request().schema(), api.response().schema()]);
    assert_eq!(schemas.map(|schema| depth(schema, 0)).max(), Some(3));

    // Each topic claims the rest of the input for its partitions, and each partition the rest for its replicas.
    let topic = b"\0\0\0\x01t\x7f\xff\xff\xff";
    let topics = [&b"\0\0\0\0\0\0\x03\xe8"[..], &topic.repeat(1000)].concat();
    let error = MetadataResponse::read(&topics.into(), 0).unwrap_err();
    assert_eq!((error.kind(), error.field()), (&Kind::CountExceedsInput(0x7fff_ffff), "topics[0].partitions"));
}

#[test]
fn strings_are_utf_8_of_at_most_32767_bytes() {
    check::<SaslHandshakeRequest>(0, b"\xff\xff", Kind::UnexpectedNull, 0, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\xff\xfe", Kind::NegativeLength(-2), 0, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\x80\0", Kind::NegativeLength(-32_768), 0, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\x7f\xffa", Kind::Truncated, 2, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\0\x02a", Kind::Truncated, 2, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\0\x02\xc3\x28", Kind::InvalidUtf8, 2, "mechanism");
    check::<SaslHandshakeRequest>(0, b"\0\x01ab", Kind::TrailingBytes(1), 3, "");
    check::<FindCoordinatorRequest>(3, b"\0", Kind::UnexpectedNull, 0, "key");
    check::<FindCoordinatorRequest>(3, b"\x03a", Kind::Truncated, 1, "key");
    check::<FindCoordinatorRequest>(3, b"\x81\x80\x02", Kind::StringTooLong(32_768), 3, "key");
    check::<FindCoordinatorRequest>(3, b"\xff\xff\xff\xff\x0f", Kind::StringTooLong(0xffff_fffe), 5, "key");
    check::<FindCoordinatorRequest>(3, b"\x03\xed\xa0\x80", Kind::InvalidUtf8, 1, "key");
    check::<MetadataResponse>(2, b"\0\0\0\0\xff\xfe", Kind::NegativeLength(-2), 4, "clusterId");
    // NUL and terminal escapes are valid text; code that prints it must escape them.
    let odd = SaslHandshakeRequest::read(&Bytes::from_static(b"\0\x06\0\x1b[2J\n"), 0).unwrap();
    assert_eq!(odd.mechanism, "\0\x1b[2J\n");
    let longest = [&b"\x7f\xff"[..], &[b'a'; 32_767]].concat();
    assert_eq!(SaslHandshakeRequest::read(&longest.into(), 0).unwrap().mechanism.len(), 32_767);
}

#[test]
fn bytes_are_a_slice_of_their_frame() {
    // A request for topic t, partition 7, with records of this length.
    let request = |length: &[u8]| [b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07", length].concat();
    let field = "topicData[0].partitionData[0].records";
    let error = |length| {
        let error = ProduceRequest::read(&request(length).into(), 3).unwrap_err();
        assert_eq!(error.field(), field);
        (error.kind().clone(), error.offset())
    };
    assert_eq!(error(b"\xff\xff\xff\xfe"), (Kind::NegativeLength(-2), 23));
    assert_eq!(error(b"\x80\0\0\0"), (Kind::NegativeLength(i32::MIN.into()), 23));
    assert_eq!(error(b"\x7f\xff\xff\xff"), (Kind::Truncated, 27));
    assert_eq!(error(b"\0\0\0\x02a"), (Kind::Truncated, 27));
    let body = Bytes::from(request(b"\0\0\0\x02ab"));
    let read = ProduceRequest::read(&body, 3).unwrap();
    let records = read.topic_data[0].partition_data[0].records.clone().unwrap();
    assert_eq!(records.to_bytes().as_ptr_range(), body[27..].as_ptr_range(), "nothing is copied");
    // A compact length beyond 32 signed bits.
    let compact = b"\0\0\0\0\0\0\0\x02\x02t\x02\0\0\0\x07\xff\xff\xff\xff\x0f";
    check::<ProduceRequest>(9, compact, Kind::Truncated, compact.len(), field);
}

/// KAFKA-14063 (CVE-2022-34917), confluentinc/librdkafka #5603: before authentication, a claimed length determined the
/// allocation.
#[test]
fn sasl_bytes_are_at_most_64_kib() {
    for (version, body, kind, offset) in [
        (0, &b"\0\0\xff\xff\xff\xff\xff\xfe"[..], Kind::NegativeLength(-2), 4),
        (2, b"\0\0\0\0", Kind::UnexpectedNull, 3),
        (2, b"\0\0\0\xff\xff\xff\xff\x0f", Kind::BytesTooLong(0xffff_fffe), 8),
        // A server's first message, of 10 MB.
        (2, b"\0\0\0\x81\xad\xe2\x04aaaa", Kind::BytesTooLong(10_000_000), 7),
    ] {
        check::<SaslAuthenticateResponse>(version, body, kind, offset, "authBytes");
    }
    let empty = SaslAuthenticateResponse::read(&Bytes::from_static(b"\0\0\xff\xff\0\0\0\0"), 0).unwrap();
    assert_eq!((empty.auth_bytes.reveal().len(), Secret::LIMIT_BYTES), (0, 64 << 10));
    check::<SaslAuthenticateResponse>(
        0,
        b"\0\0\xff\xff\x7f\xff\xff\xff",
        Kind::BytesTooLong(0x7fff_ffff),
        8,
        "authBytes",
    );
    check::<SaslAuthenticateResponse>(0, b"\0\0\xff\xff\0\0\0\x02a", Kind::Truncated, 8, "authBytes");
    check::<SaslAuthenticateResponse>(0, b"\0\0\xff\xff\xff\xff\xff\xff", Kind::UnexpectedNull, 4, "authBytes");
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
fn nulls_in_the_wrong_version() {
    check::<MetadataRequest>(0, b"\xff\xff\xff\xff", Kind::UnexpectedNull, 0, "topics");
    assert_eq!(MetadataRequest::read(&Bytes::from_static(b"\xff\xff\xff\xff"), 1).unwrap().topics, None);
    let error = MetadataRequest { topics: None, ..Default::default() }.write(0, &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), error.field().as_str()), (&EncodeErrorKind::UnexpectedNull, "topics"));
    // A topic without a name, allowed since version 12.
    check::<MetadataResponse>(
        11,
        b"\0\0\0\0\x01\x00\0\0\0\0\x02\0\0\x00aaaaaaaaaaaaaaaa\0\x01\0\0\0\0\0\0",
        Kind::UnexpectedNull,
        13,
        "topics[0].name",
    );
}

#[test]
fn tagged_fields_ascend_and_have_their_declared_size() {
    // The error, no API keys and the throttle time, then tags from byte 7 on. Tag 1 is an int64, tag 3 a bool.
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
    // Unknown tags are skipped.
    assert!(read(b"\x02\x03\x01\x01\x63\x03abc").unwrap().zk_migration_ready);
    assert_eq!(error(b"\x02\x63\x03abc\x62\x00"), at(Kind::TagOrder(0x62), 13, ""));
    assert!(read(b"\x01\xff\xff\xff\xff\x0f\0").is_ok());
    assert_eq!(
        error(b"\x02\xff\xff\xff\xff\x0f\0\xff\xff\xff\xff\x0f\0"),
        at(Kind::TagOrder(u32::MAX), 14, ""),
        "the highest there is, twice"
    );
    // 20,000 unknown tags are skipped too.
    let mut many = b"\xa0\x9c\x01".to_vec(); // 20,000
    for tag in 128u16..20_128 {
        let [low, high, top] =
            [tag & 0x7f | 0x80, tag >> 7 & 0x7f | 0x80, tag >> 14].map(|seven| seven.to_le_bytes()[0]);
        many.extend([low, high, top, 1, b'?']);
    }
    assert_eq!(read(&many), read(b"\0"));
    assert_eq!(error(&many[..many.len() - 1]), at(Kind::Truncated, 7 + many.len() - 1, ""));
    // More tags than the bytes can hold are an error.
    assert_eq!(error(b"\x05\x63\0\x64\0"), at(Kind::Truncated, 12, ""));
}

/// librdkafka 2.2.0 skipped the wrong number of bytes, and misread what came after them.
#[test]
fn tagged_fields_that_are_unknown_are_skipped_exactly() {
    // Two APIs with tags in each, the throttle time, then more tags.
    let body = b"\0\0\x03\0\x03\0\0\0\x0d\x02\x00\x03abc\x63\0\0\x12\0\x01\0\x04\x01\x7f\x01\x02\0\0\0\x05\x01\x7f\x02\xff\xff";
    let read = ApiVersionsResponse::read(&Bytes::from_static(body), 3).unwrap();
    let apis: Vec<_> = read.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!((apis, read.throttle_time_ms), (vec![(3, 0, 13), (18, 1, 4)], 5));
}

#[test]
fn arrays_of_empty_elements_cost_no_more_than_eight_frames() {
    // A topic without name and partitions takes three bytes on the wire and 64 in memory. The limit is eight times the
    // frame plus 64 KiB.
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
    // The limit is for all arrays of a message together: one transaction with a thousand such topics is within it.
    let read = |transactions: u8| {
        let topics = [&b"\xe9\x07"[..], &b"\x01\x01\0".repeat(1000)].concat();
        let one = [&b"\x02t\0\0\0\0\0\0\0\x07\0\0\0"[..], &topics, b"\0"].concat();
        let body = [&[transactions + 1][..], &one.repeat(transactions.into()), b"\0"].concat();
        AddPartitionsToTxnRequest::read(&body.into(), 4)
    };
    assert!(read(1).is_ok() && read(2).is_ok());
    let error = read(10).unwrap_err();
    assert_eq!((error.kind(), error.field()), (&Kind::MemoryExceedsInput(48_000), "transactions[6].topics"));
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
fn our_own_encoder_refuses_fields_that_the_version_lacks() {
    let write = |request: &FindCoordinatorRequest, version| {
        request.write(version, &mut Vec::new()).map_err(|error| (error.kind().clone(), error.field()))
    };
    let request = FindCoordinatorRequest { coordinator_keys: vec!["a".to_owned()], ..Default::default() };
    assert_eq!(write(&request, 3), Err((EncodeErrorKind::NotInVersion, "coordinatorKeys".to_owned())));
    assert_eq!(write(&request, 4), Ok(()));
    // Kafka declares the throttle time of a response ignorable.
    let response = CreateTopicsRequest { validate_only: true, ..Default::default() };
    assert!(response.write(2, &mut Vec::new()).is_ok());
    let response = MetadataResponse { throttle_time_ms: 5, ..Default::default() };
    assert!(response.write(0, &mut Vec::new()).is_ok());
}

#[test]
fn our_own_encoder_names_a_too_long_string() {
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

/// sqlx RUSTSEC-2024-0363: a truncated length let part of a value be read as protocol data.
#[test]
fn our_own_encoder_casts_no_length() {
    // The pages are never touched, so they take no memory.
    let large = Bytes::from(vec![0; 64 << 20]);
    let above = 33 * large.len();
    let kind = |error: &kurier_protocol::EncodeError| (error.kind().clone(), error.field());
    let too_long = |length, field: &str| (EncodeErrorKind::TooLong(length), field.to_owned());

    // A record that is too long because of its headers.
    let headers = [Header { key: &large, value: None }; 33];
    let mut builder = RecordBatchBuilder::new();
    let error = builder.slot(&NewRecord { headers: &headers, ..Default::default() }).unwrap_err();
    assert_eq!(kind(&error), too_long(above + 33 * 5 + 6, "record"));
    assert_eq!(builder.record_count(), 0);

    // A batch that is too long.
    builder.append(&NewRecord::default()).unwrap();
    let bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
    let header = *RecordBatch::parse(&bytes).unwrap().0.header();
    let error = header.with_body(vec![large.clone(); 33]).unwrap_err();
    assert_eq!(kind(&error), too_long(above + BATCH_HEADER_BYTES - 12, "batch"));

    // A request that is too long because of one field, or in total.
    let request = |chunks: usize, partitions: usize| {
        let records: Records = vec![large.clone(); chunks].into();
        let data = PartitionProduceData { records: Some(records), ..Default::default() };
        let topic = TopicProduceData { partition_data: vec![data; partitions], ..Default::default() };
        ProduceRequest { topic_data: vec![topic], ..Default::default() }
    };
    for version in [3, 9] {
        let error = request(33, 1).written_len(version).unwrap_err();
        assert_eq!(kind(&error), too_long(above, "topicData[0].partitionData[0].records"));
        let request = request(17, 2);
        let len = request.written_len(version).unwrap();
        assert!(len > 2 << 30);
        let error = write_request(&request, version, 1, None, &mut Vec::new()).unwrap_err();
        assert!(matches!(error.kind(), EncodeErrorKind::TooLong(whole) if *whole > len), "{error}");
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

/// Encodes a batch of one record and damages it.
fn batch(damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut builder = RecordBatchBuilder::new();
    let headers = [Header { key: b"h", value: None }];
    builder.append(&NewRecord { timestamp: 5, key: Some(b"key"), value: Some(b"value"), headers: &headers }).unwrap();
    let mut bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes().to_vec();
    damage(&mut bytes);
    bytes
}

/// Corrects length and checksum.
fn mend(bytes: &mut [u8]) {
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Encodes a batch of these records with this record count and a matching last offset.
fn batch_of(count: i32, records: &[u8]) -> Vec<u8> {
    batch(|bytes| {
        bytes.truncate(BATCH_HEADER_BYTES);
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(records);
        mend(bytes);
    })
}

/// Returns the first error of reading the batch and all its records.
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
fn record_batch_headers_with_false_values_are_refused() {
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
    // Known attack lengths: 2 GiB if read as unsigned; below 0 after adding twelve bytes.
    assert_eq!(kind(&put(8, b"\x80\0\0\0")), Some(Kind::BatchLength(i32::MIN)));
    assert_eq!(kind(&put(8, b"\xff\xff\xff\xff")), Some(Kind::BatchLength(-1)));
    assert_eq!(kind(&put(8, b"\0\0\0\0")), Some(Kind::BatchLength(0)));
    assert_eq!(kind(&put(8, b"\0\0\0\x30")), Some(Kind::BatchLength(48)));
    assert_eq!(kind(&put(8, b"\x7f\xff\xff\xff")), Some(Kind::Truncated));
    assert_eq!(kind(&put(16, b"\x01")), Some(Kind::UnsupportedVersion));
    assert!(matches!(kind(&put(17, b"abcd")), Some(Kind::Crc { stored: 0x6162_6364, .. })));
    // With correct length and checksum, the count became a slice's length (segmentio/kafka-go #1438).
    assert_eq!(kind(&mended(57, b"\xff\xff\xff\xff")), Some(Kind::RecordCount(-1)));
    assert_eq!(kind(&mended(57, b"\x7f\xff\xff\xff")), Some(Kind::RecordCount(0x7fff_ffff)));
    assert_eq!(kind(&mended(57, b"\0\0\0\x02")), Some(Kind::RecordCount(2)), "more than the last offset allows");
    assert_eq!(kind(&mended(23, b"\xff\xff\xff\xff")), Some(Kind::RecordCount(1)));
    assert_eq!(kind(&mended(57, b"\0\0\0\0")), Some(Kind::TrailingBytes(18)), "a record that nobody counted");
    for codec in [b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07"] {
        // Codecs from 5 on do not exist; the decompressor reports that.
        assert_eq!(kind(&mended(22, codec)), Some(Kind::Compressed));
    }
    assert_eq!(kind(&mended(0, b"\x7f\xff\xff\xff\xff\xff\xff\xff")), None, "the highest offset there is");
    assert_eq!(first_error(&batch(put(16, b"\x01"))).unwrap().offset(), 16);
    let mut beyond = batch_of(2, b"\x0c\0\0\0\x01\x01\0\x0c\0\0\x02\x01\x01\0");
    beyond[..8].copy_from_slice(&i64::MAX.to_be_bytes());
    let error = first_error(&beyond).unwrap();
    assert_eq!((error.kind(), error.field()), (&Kind::Overflow, "records[1].offsetDelta"), "and one behind it");
    // Compaction leaves a last offset beyond the count.
    assert_eq!(kind(&mended(23, b"\0\0\x01\0")), None);
}

#[test]
fn record_batch_bytes_that_are_flipped_or_missing_are_found_by_the_checksum() {
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
fn record_batch_records_with_false_values_are_refused() {
    let of = |record: &[u8]| {
        let error = first_error(&batch_of(1, record));
        error.map(|error| (error.kind().clone(), error.field().to_owned()))
    };
    let at = |kind, field: &str| Some((kind, format!("records[0]{field}")));
    // Fields: length, attributes, timestamp delta, offset delta, key, value, headers.
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
    // The base timestamp is 5, so the largest delta exceeds 64 bits.
    assert_eq!(
        of(b"\x1e\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x01\x01\0"),
        at(Kind::Overflow, ".timestampDelta")
    );
    assert_eq!(of(b"\x0c\0\0\0\x01\x01\0a"), Some((Kind::TrailingBytes(1), "records[1]".to_owned())));
}

#[test]
fn error_in_a_record_has_its_offset_in_the_body() {
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
fn timestamps_may_be_far_apart() {
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
