//! Tests of producer ids: when the core asks for one, and how batches fail without an id or without the API for it.

use super::*;

fn shown(delivery: &Delivery) -> String {
    match outcome(delivery) {
        Poll::Ready(Err(error)) => format!("{error:#}"),
        other => panic!("{other:?}"),
    }
}

const REFUSED: Fate = Fate::Failed(ErrorKind::Refused, Written::No);

/// Returns a rig that does not forget its topic during ten idle minutes.
fn patient(arrange: impl FnOnce(&mut Rig)) -> Rig {
    Rig::with(|config| config.metadata_max_idle = Duration::from_secs(3_600), arrange)
}

fn refuse(response: &mut InitProducerIdResponse) {
    response.error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
}

#[test]
fn refused_producer_id_is_not_asked_for_while_nothing_waits() {
    let mut rig = patient(|rig| rig.change_producer_id = refuse);
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(1_000));
    assert_eq!((fate(&delivery), rig.producer_ids_asked), (REFUSED, 1));
    rig.pass(Duration::from_secs(600));
    assert_eq!(rig.producer_ids_asked, 1);
    // The next record causes another request, which is granted meanwhile.
    rig.change_producer_id = |_| {};
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!((fate(&delivery), rig.producer_ids_asked), (Fate::At(0), 2));
}

#[test]
fn refused_producer_id_is_asked_for_at_growing_intervals_under_load() {
    let mut rig = Rig::with(|_| {}, |rig| rig.change_producer_id = refuse);
    let mut deliveries = Vec::new();
    for _ in 0..600 {
        deliveries.push(rig.send_and_linger(0));
        rig.pass(ms(94));
    }
    rig.pass(ms(1_500));
    assert!(deliveries.iter().all(|delivery| fate(delivery) == REFUSED));
    // The intervals are 0.1, 0.2, 0.4, 0.8 and then one second, with 20 % jitter.
    assert!((50..=85).contains(&rig.producer_ids_asked), "{}", rig.producer_ids_asked);
}

#[test]
fn producer_id_is_not_asked_for_after_its_batches_have_expired() {
    let mut rig = Rig::new(|_| {});
    rig.change_producer_id = |response| response.error_code = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    let delivery = rig.send_and_linger(0);
    rig.pass(Duration::from_secs(121));
    assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::DeliveryTimeout, Written::No));
    let before = rig.producer_ids_asked;
    rig.pass(Duration::from_secs(600));
    assert_eq!(rig.producer_ids_asked, before);
}

#[test]
fn refused_replacement_id_fails_batch_without_another_request() {
    let mut rig = patient(|_| {});
    rig.open_gate(0);
    rig.change_producer_id = refuse;
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    let before = rig.producer_ids_asked;
    // Another producer has a newer epoch of this id.
    rig.settle(&request, ErrorCode::INVALID_PRODUCER_EPOCH, -1);
    rig.pass(Duration::from_secs(600));
    assert_eq!((fate(&delivery), rig.producer_ids_asked), (REFUSED, before + 1));
    assert!(shown(&delivery).contains("waiting to be sent again, sent once"), "{}", shown(&delivery));
    rig.change_producer_id = |_| {};
    let next = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!((request.only(), request.batches[0].id), ((0, 0, 1), rig.next_producer_id));
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&next), Fate::At(1));
}

type Offered = fn(i16) -> Option<(i16, ApiVersionsResponse)>;

fn all(version: i16) -> Option<(i16, ApiVersionsResponse)> {
    Some((version, offer(&[(0, 13), (3, 13), (18, 4), (22, 5)])))
}

fn no_producer_ids(version: i16) -> Option<(i16, ApiVersionsResponse)> {
    Some((version, offer(&[(0, 13), (3, 13), (18, 4)])))
}

#[test]
fn sends_fail_at_once_when_no_broker_offers_what_the_configuration_needs() {
    let spoken = ProduceRequest::VERSIONS;
    let needed = format!("every record needs a version from {} to {}", spoken.start(), spoken.end());
    let cases: [(&str, &str, Offered, &[&str]); 5] = [
        (
            "acks",
            "all",
            no_producer_ids,
            &["does not offer the API InitProducerId", "enable.idempotence=true needs", "set enable.idempotence=false"],
        ),
        (
            "acks",
            "all",
            |version| {
                let newer = ApiVersion { api_key: 22, min_version: 90, max_version: 99 };
                no_producer_ids(version).map(|(version, mut response)| {
                    response.api_keys.push(newer);
                    (version, response)
                })
            },
            &["offers the API InitProducerId in versions 90 to 99 only"],
        ),
        (
            "acks",
            "all",
            |version| Some((version, offer(&[(3, 13), (18, 4), (22, 5)]))),
            &["does not offer the API Produce", "every record needs", "Kafka 0.11 or later"],
        ),
        (
            "acks",
            "1",
            |version| Some((version, offer(&[(0, 2), (3, 13), (18, 4), (22, 5)]))),
            &["offers the API Produce in versions 0 to 2 only", &needed],
        ),
        (
            "compression.type",
            "zstd",
            |version| Some((version, offer(&[(0, 6), (3, 13), (18, 4), (22, 5)]))),
            &[
                "in versions 0 to 6 only",
                "compression.type=zstd needs a version from 7",
                "set another compression.type",
            ],
        ),
    ];
    for (key, value, offered, said) in cases {
        let mut rig = Rig::with(|config| config.set(key, value).unwrap(), |rig| rig.versions = offered);
        let before = rig.connects.len();
        for _ in 0..20 {
            let delivery = rig.send_and_linger(0);
            rig.pass(ms(20));
            assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Unsupported, Written::No), "{key}={value}");
            for part in said {
                assert!(shown(&delivery).contains(part), "{part:?} is not in {:?}", shown(&delivery));
            }
        }
        assert!(rig.requests.is_empty() && rig.connects.len() - before <= 3, "{:?}", rig.connects);
        // The failure is not final: upgraded brokers accept batches.
        rig.versions = all;
        for node in [1, 2, 3, SEED] {
            rig.cut(node);
        }
        rig.pass(ms(2_000));
        let delivery = rig.send_and_linger(0);
        rig.pass(ms(500));
        let request = rig.request();
        assert!(matches!(request.batches[0].sequence, 0 | -1), "no sequence was used up");
        rig.settle(&request, ErrorCode::NONE, 0);
        assert_eq!(fate(&delivery), Fate::At(0), "{key}={value}");
    }
}

#[test]
fn producer_id_comes_from_the_broker_that_offers_it() {
    // Node 1 and the bootstrap server are too old, so the core does not ask them.
    let mut rig = Rig::with(
        |_| {},
        |rig| rig.versions_by_node = [(SEED, no_producer_ids as Offered), (1, no_producer_ids)].into(),
    );
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(100));
    let request = rig.request();
    assert_eq!((request.node, request.batches[0].id), (1, rig.next_producer_id));
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}
