//! Tests of frames and headers: frames in any chunks are found, and an invalid start is refused at once.

use bytes::Bytes;
use kurier_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, ProduceRequest};
use kurier_protocol::{
    APIS, Api, Chunks, FrameBuffer, FrameError, Message, ParseErrorKind, Records, RequestHeader, ResponseHeader,
    read_response, write_request, write_response,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions")))]

    #[test]
    fn frames_are_found_in_any_chunks(
        frames in vec(vec(any::<u8>(), 4..300), 0..8), cuts in vec(1usize..100, 1..40), limit in 300usize..400,
    ) {
        let mut wire = Vec::new();
        for frame in &frames {
            wire.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
            wire.extend(frame);
        }
        let mut buffer = FrameBuffer::new(limit);
        let mut found = Vec::new();
        let mut rest = &wire[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, later) = rest.split_at(rest.len().min(*cut));
            buffer.extend(chunk);
            rest = later;
            while let Some(frame) = buffer.next_frame().unwrap() {
                found.push(frame.to_vec());
            }
        }
        prop_assert_eq!(buffer.pending(), 0);
        prop_assert_eq!(found, frames);
    }
}

#[test]
fn a_lower_limit_holds_from_the_next_frame_on() {
    let mut buffer = FrameBuffer::new(100);
    buffer.extend(&[0, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 50]);
    assert_eq!(buffer.next_frame().unwrap().unwrap(), [1, 2, 3, 4][..]);
    assert_eq!(buffer.next_frame(), Ok(None));
    buffer.set_limit(49);
    assert_eq!(buffer.next_frame(), Err(FrameError::TooLong { claimed: 50, limit: 49 }));
}

#[test]
fn the_buffer_makes_room_when_half_of_it_is_gone() {
    let limits = [FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES, FrameBuffer::DEFAULT_LIMIT_BYTES, FrameBuffer::ROOM_BYTES];
    assert_eq!(limits, [1_048_576, 104_857_600, 65_536]);
    let mut buffer = FrameBuffer::new(limits[0]);
    assert_eq!(buffer.room().capacity(), 65_536);
    let before = buffer.room().as_ptr();
    for len in [0, 1, 32_767, 32_768] {
        buffer.room().resize(len, 0);
        assert_eq!((buffer.room().capacity(), buffer.room().as_ptr()), (65_536, before), "{len} bytes");
    }
    buffer.room().resize(32_769, 0);
    assert_eq!(buffer.room().capacity(), 32_769 + 65_536, "and no more, for these are no frame");
    assert_eq!(buffer.pending(), 32_769);
}

#[test]
fn the_buffer_does_not_keep_the_memory_of_a_large_frame() {
    const LARGE: usize = 8 << 20;
    let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
    buffer.extend(&u32::try_from(LARGE).unwrap().to_be_bytes());
    let mut left = LARGE;
    while left > 0 {
        let room = buffer.room();
        let some = left.min(room.capacity() - room.len());
        assert!(some > 0, "there is room");
        room.resize(room.len() + some, 7);
        left -= some;
    }
    assert!(buffer.room().capacity() <= LARGE + 2 * FrameBuffer::ROOM_BYTES, "no more than the frame and some room");
    assert_eq!(buffer.next_frame().unwrap().unwrap().len(), LARGE);
    assert!(buffer.room().capacity() <= 2 * FrameBuffer::ROOM_BYTES, "{}", buffer.room().capacity());
}

#[test]
fn every_header_is_read_as_it_was_written() {
    for api in APIS {
        for version in api.versions() {
            for client_id in [None, Some(String::new()), Some("kurier-1".to_owned())] {
                let header =
                    RequestHeader { api_key: api.key(), api_version: version, correlation_id: (-7).into(), client_id };
                let mut frame = Vec::new();
                header.write(&mut frame).unwrap();
                frame.extend(b"body");
                let frame = Bytes::from(frame);
                assert_eq!(RequestHeader::read(&frame).unwrap(), (header, Bytes::from_static(b"body")));
                for len in 0..frame.len() - 4 {
                    assert!(RequestHeader::read(&frame.slice(..len)).is_err());
                }
            }
            let header = ResponseHeader { correlation_id: 0x0102_0304.into() };
            let mut frame = Vec::new();
            header.write(api, version, &mut frame);
            assert_eq!(frame.len(), if api.response_header_version(version) == 1 { 5 } else { 4 });
            assert_eq!(ResponseHeader::read(&frame.into(), api, version).unwrap(), (header, Bytes::new()));
        }
    }
}

#[test]
fn api_versions_response_always_has_header_v0() {
    let mut frame = Vec::new();
    write_response(&ApiVersionsResponse::default(), 4, 9, &mut frame).unwrap();
    assert_eq!(frame[..8], [0, 0, 0, 12, 0, 0, 0, 9]);
    assert_eq!(frame[8..], [0, 0, 1, 0, 0, 0, 0, 0], "error, an empty array, throttle, no tags");
    let (correlation_id, response) = read_response::<ApiVersionsRequest>(&Bytes::from(frame).slice(4..), 4).unwrap();
    assert_eq!((correlation_id.0, response), (9, ApiVersionsResponse::default()));
}

#[test]
fn tagged_fields_of_a_header_are_skipped() {
    // Metadata 12, correlation id 1, no client id, one tag of two bytes.
    let frame = Bytes::from_static(b"\0\x03\0\x0c\0\0\0\x01\xff\xff\x01\x05\x02ab\x2a");
    let (header, body) = RequestHeader::read(&frame).unwrap();
    assert_eq!((header.api_key, header.client_id), (3, None));
    assert_eq!(body, "*");
}

#[test]
fn unknown_api_is_named() {
    let error = RequestHeader::read(&Bytes::from_static(b"\0\x63\0\0\0\0\0\0\0\0")).unwrap_err();
    assert_eq!(error.kind(), &ParseErrorKind::UnknownApi(99));
    assert_eq!(error.to_string(), "RequestHeader v1: no API with key 99 is known, at byte 0");
}

#[test]
fn request_frame_has_length_header_and_body() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let mut frame = Vec::new();
    write_request(&request, 9, 3, Some("k"), &mut frame).unwrap();
    let mut buffer = FrameBuffer::new(1 << 20);
    buffer.extend(&frame);
    let (header, body) = RequestHeader::read(&buffer.next_frame().unwrap().unwrap()).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id.0), (3, 9, 3));
    assert_eq!(MetadataRequest::read(&body, 9).unwrap(), request);
}

#[test]
fn record_data_is_shared_when_written_and_read() {
    let data = Bytes::from(vec![0x55; 20_000]);
    let mut request = ProduceRequest { acks: -1, ..Default::default() };
    let records: Records = vec![Bytes::from_static(b"head"), data.clone()].into();
    request.topic_data.push(Default::default());
    request.topic_data[0].name = "t".to_owned();
    request.topic_data[0].partition_data.push(Default::default());
    request.topic_data[0].partition_data[0].records = Some(records.clone());

    let mut chunks = Chunks::new();
    write_request(&request, 9, 1, None, &mut chunks).unwrap();
    let chunks = chunks.finish();
    assert_eq!(chunks.len(), 3, "what comes before, the data, the tags after it");
    assert_eq!(chunks[1].as_ptr(), data.as_ptr());

    let whole = Bytes::from(chunks.concat());
    let mut plain = Vec::new();
    write_request(&request, 9, 1, None, &mut plain).unwrap();
    assert_eq!(whole, plain, "chunks or not, the same bytes");

    let mut buffer = FrameBuffer::new(1 << 20);
    buffer.extend(&whole);
    let (_, body) = RequestHeader::read(&buffer.next_frame().unwrap().unwrap()).unwrap();
    let read = ProduceRequest::read(&body, 9).unwrap();
    for (shown, records) in [(None, serde_json::Value::Null), (Some("ours".into()), "ours".into())] {
        let json = read.json_with(9, &|_| shown.clone());
        let partition = &json["topicData"][0]["partitionData"][0];
        assert_eq!((&partition["recordsSizeInBytes"], &partition["records"]), (&20_004.into(), &records));
    }
    let read = read.topic_data[0].partition_data[0].records.as_ref().unwrap();
    assert_eq!(read, &records);
    assert!(body.as_ptr_range().contains(&read.chunks()[0].as_ptr()));
}

#[test]
fn table_of_apis_is_complete() {
    assert_eq!(APIS.len(), 14);
    assert!(APIS.is_sorted_by_key(Api::key));
    assert_eq!(Api::named("metadata").unwrap().key(), 3);
    assert!(Api::named("Heartbeat").is_none());
    for api in APIS {
        assert_eq!(api.request().schema().name, format!("{}Request", api.name()));
        assert_eq!(api.response().schema().name, format!("{}Response", api.name()));
    }
}
