//! Files that claim more than they hold. The reader accepts no packet of more than 16 MiB, and waits for no missing
//! packet.

use std::io::{Read, repeat};

use kurier_capture::{CaptureError, Reader};

/// The header of an Ethernet capture in pcap and in pcapng.
const PCAP: &[u8] = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x01\0\0\0";
const PCAPNG: &[u8] = b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0\
    \x01\0\0\0\x14\0\0\0\x01\0\0\0\0\0\0\0\x14\0\0\0";

/// Returns files whose first packet claims this many bytes.
fn files(claimed: u32) -> [Vec<u8>; 2] {
    let claimed = claimed.to_le_bytes();
    let packet = [&[0; 8][..], &claimed, &claimed].concat();
    let block = [b"\x06\0\0\0", &claimed[..], &[0; 12], &claimed, &claimed].concat();
    [[PCAP, &packet].concat(), [PCAPNG, &block].concat()]
}

/// Returns the result of reading a file, and whether it ended inside a packet.
fn check(file: impl Read + Send) -> (Result<usize, CaptureError>, bool) {
    let mut reader = Reader::new(file).unwrap();
    let read = reader.by_ref().collect::<Result<Vec<_>, _>>().map(|frames| frames.len());
    (read, reader.is_cut())
}

#[test]
fn missing_packets_end_the_file() {
    for claimed in [100, 1 << 20, 8 << 20] {
        for file in files(claimed) {
            let (read, is_cut) = check(&file[..]);
            assert!(matches!(read, Ok(0)) && is_cut, "{claimed}: {read:?}");
        }
    }
}

#[test]
fn packets_of_more_than_16_mib_are_damage() {
    for claimed in [(16 << 20) + 4, 0x7fff_fffc, 0xffff_fffc] {
        for file in files(claimed) {
            // An endless file: a reader of the whole would never return.
            let (read, _) = check(file.chain(repeat(0)));
            let error = read.unwrap_err();
            assert!(matches!(error, CaptureError::Damaged { packets: 0, .. }), "{claimed}: {error}");
        }
        for file in files(claimed) {
            let (read, is_cut) = check(&file[..]);
            assert!(read.is_err() || is_cut, "{claimed}: {read:?}");
        }
    }
}

#[test]
fn invalid_headers_are_refused() {
    for file in [&b""[..], b"\xd4", &PCAP[..23], &[0xff; 64], b"GET / HTTP/1.1\r\n\r\n"] {
        let error = Reader::new(file).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.starts_with("the file is not a capture")), "{file:?}");
    }
    let wide = [&PCAP[..20], b"\x93\0\0\0", &files(64)[0][24..], &[0; 64]].concat();
    assert!(matches!(check(&wide[..]).0, Err(CaptureError::UnknownLink(0x93))));
}
