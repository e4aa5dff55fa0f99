//! Replays of captures of real clients and brokers: the core sends the same records, gets the broker's original
//! responses, and must reach the outcomes that the capture shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use kurier_capture::{Frame, Reader, Side};
use kurier_protocol::messages::{MetadataResponse, ProduceResponse};
use kurier_protocol::{Api, ResponseHeader};

use super::*;

/// A client's request and its response.
#[derive(Clone, Copy)]
struct Exchange<'a> {
    request: &'a Frame,
    response: &'a Frame,
}

impl Exchange<'_> {
    fn version(self) -> i16 {
        self.request.head.unwrap().api_version
    }

    fn asked<M: Message>(self) -> M {
        let (_, body) = RequestHeader::read(&self.request.bytes).unwrap();
        M::read(&body, self.version()).unwrap()
    }

    fn answered<M: Message>(self) -> M {
        let api = Api::of(self.request.head.unwrap().api_key).unwrap();
        let (_, body) = ResponseHeader::read(&self.response.bytes, api, self.version()).unwrap();
        M::read(&body, api.response_version(self.version(), &body)).unwrap()
    }
}

/// Returns all exchanges of one API, in order.
fn exchanges(frames: &[Frame], api_key: i16) -> Vec<Exchange<'_>> {
    let answers: BTreeMap<u64, &Frame> = frames.iter().filter_map(|frame| Some((frame.answers?, frame))).collect();
    let of_api = |frame: &&Frame| {
        frame.side == Side::Client && frame.head.is_some_and(|head| head.api_key == api_key) && frame.read().is_ok()
    };
    let asked = frames.iter().filter(of_api);
    asked.filter_map(|request| Some(Exchange { request, response: answers.get(&request.number)? })).collect()
}

/// A Produce exchange, with the state that was known when the client sent the request.
struct Scene<'a> {
    topic: String,
    /// The last metadata exchange for the topic before that.
    metadata: Exchange<'a>,
    /// The producer id, for an idempotent producer whose batches were all written. Without one, failures are final.
    producer_id: Option<Exchange<'a>>,
    produce: Exchange<'a>,
    versions: ApiVersionsResponse,
    /// New leaders that earlier Produce responses named (KIP-951). The metadata may be older.
    hints: BTreeSet<String>,
}

/// Returns the offered API versions, limited to the versions that the client used.
fn capped(frames: &[Frame], used: &[Option<Exchange<'_>>]) -> ApiVersionsResponse {
    let offers = exchanges(frames, ApiVersionsRequest::KEY);
    let offers = offers.into_iter().map(Exchange::answered::<ApiVersionsResponse>);
    let mut offer = offers
        .filter(|offer| offer.error_code.is_none())
        .last()
        .unwrap_or_else(|| offer(&[(0, 13), (3, 13), (18, 4), (22, 5)]));
    for exchange in used.iter().flatten() {
        let api_key = exchange.request.head.unwrap().api_key;
        let api = offer.api_keys.iter_mut().find(|api| api.api_key == api_key).unwrap();
        assert!(
            (api.min_version..=api.max_version).contains(&exchange.version()),
            "the client kept to what it was offered"
        );
        api.max_version = exchange.version();
    }
    offer
}

fn scenes<'a>(frames: &'a [Frame]) -> Vec<Scene<'a>> {
    let tells_of = |exchange: &Exchange<'_>, wanted: &dyn Fn(&MetadataResponseTopic) -> bool| {
        let topics = exchange.answered::<MetadataResponse>().topics;
        topics.into_iter().find(|topic| topic.error_code.is_none() && wanted(topic)).map(|topic| topic.name.unwrap())
    };
    let metadata = exchanges(frames, MetadataRequest::KEY);
    let ids = exchanges(frames, InitProducerIdRequest::KEY);
    let produced = exchanges(frames, ProduceRequest::KEY);
    let scene = |produce: Exchange<'a>| {
        let asked = produce.asked::<ProduceRequest>();
        let topic = asked.topic_data.first()?.clone();
        let is_it = |told: &MetadataResponseTopic| match topic.name.as_str() {
            "" => told.topic_id == topic.topic_id,
            name => told.name.as_deref() == Some(name),
        };
        let before = metadata.iter().rev().filter(|exchange| exchange.response.number < produce.request.number);
        let (metadata, topic) = before.filter_map(|exchange| Some((*exchange, tells_of(exchange, &is_it)?))).next()?;
        let answers = produce.answered::<ProduceResponse>().responses;
        let is_written =
            answers.iter().flat_map(|topic| &topic.partition_responses).all(|answer| answer.error_code.is_none());
        let producer_id = ids.iter().rev().find(|exchange| exchange.response.number < produce.request.number);
        let producer_id = producer_id.copied().filter(|_| is_written && asked.acks == -1);
        let versions = capped(frames, &[Some(metadata), producer_id, Some(produce)]);
        let told = produced.iter().filter(|exchange| exchange.response.number < produce.request.number);
        let hints = told.flat_map(|exchange| exchange.answered::<ProduceResponse>().node_endpoints);
        let hints = hints.map(|node| format!("{}:{}", node.host, node.port)).collect();
        Some(Scene { topic, metadata, producer_id, produce, versions, hints })
    };
    produced.iter().map(|produce| scene(*produce).expect("a topic that is known")).collect()
}

/// The core in a scene.
struct Play<'a> {
    scene: &'a Scene<'a>,
    driver: TestDriver,
    hosts: BTreeMap<ConnectionId, String>,
    said: Vec<i16>,
}

impl<'a> Play<'a> {
    fn new(scene: &'a Scene<'a>) -> Self {
        let mut config = Config::default();
        let acks = scene.produce.asked::<ProduceRequest>().acks;
        let is_idempotent = scene.producer_id.is_some();
        for (key, value) in [
            ("bootstrap.servers", scene.metadata.request.server.to_string()),
            ("acks", acks.to_string()),
            ("enable.idempotence", is_idempotent.to_string()),
            ("retries", if is_idempotent { i32::MAX } else { 0 }.to_string()),
            ("linger.ms", "5".to_owned()),
        ] {
            config.set(key, &value).unwrap();
        }
        let driver = TestDriver::new(Arc::new(config.check().unwrap()), Arc::new(NoCallbacks)).unwrap();
        Self { scene, driver, hosts: BTreeMap::new(), said: Vec::new() }
    }

    /// Lets half a second pass.
    fn pass(&mut self) {
        let end = self.driver.now() + ms(500);
        while self.driver.now() < end {
            self.driver.tell();
            while let Some(action) = self.driver.core.poll_action() {
                self.act(action);
            }
            let next = self.driver.core.next_timeout(self.driver.now()).unwrap_or(end);
            self.driver.clock.set(next.max(self.driver.now() + ms(1)).min(end));
        }
    }

    fn act(&mut self, action: Action) {
        match self.driver.act(action) {
            Some(Action::Connect { connection, host, .. }) => {
                self.hosts.insert(connection, host.to_string());
                self.driver.handle(Input::Connected { connection, is_private: true });
            }
            Some(Action::Disconnect(connection)) => panic!("{} is given up", self.hosts[&connection]),
            Some(Action::Transmit { connection, correlation_id, chunks }) => {
                let frame: Bytes = chunks.concat().into();
                self.driver.handle(Input::Written { connection, correlation_id });
                let answer = self.answer(connection, &frame.slice(4..));
                // Replace the client's correlation id with the core's.
                let frame = [&correlation_id.0.to_be_bytes(), &answer[4..]].concat().into();
                self.driver.handle(Input::Received { connection, frame });
            }
            Some(Action::Refuse { topic, error }) => panic!("{topic}: {error}"),
            _ => {}
        }
    }

    /// Returns the real broker's response.
    fn answer(&mut self, connection: ConnectionId, frame: &Bytes) -> Bytes {
        let Scene { topic, metadata, producer_id, produce, versions, hints } = self.scene;
        let (header, body) = RequestHeader::read(frame).unwrap();
        let offered =
            versions.api_keys.iter().find(|api| api.api_key == header.api_key).expect("an API that is offered");
        let is_offered = (offered.min_version..=offered.max_version).contains(&header.api_version);
        // ApiVersions is sent before versions are known; the response is in version 0 (KIP-511).
        assert!(is_offered || header.api_key == ApiVersionsRequest::KEY, "{header:?}");
        self.said.push(header.api_key);
        let theirs = match header.api_key {
            ApiVersionsRequest::KEY => {
                let refusal = ApiVersionsResponse {
                    error_code: ErrorCode::UNSUPPORTED_VERSION,
                    api_keys: vec![offered.clone()],
                    ..Default::default()
                };
                let (version, response) = if is_offered { (header.api_version, versions) } else { (0, &refusal) };
                let mut frame = Vec::new();
                write_response(response, version, 0, &mut frame).unwrap();
                return Bytes::from(frame).slice(4..);
            }
            MetadataRequest::KEY => {
                let asked = MetadataRequest::read(&body, header.api_version).unwrap().topics.unwrap();
                assert!(asked.iter().all(|asked| asked.name.as_ref() == Some(topic)));
                *metadata
            }
            InitProducerIdRequest::KEY => producer_id.expect("an idempotent producer"),
            ProduceRequest::KEY => {
                let server = produce.request.server.to_string();
                assert!(
                    self.hosts[&connection] == server || hints.contains(&server),
                    "the leader as the client saw it"
                );
                let ours = ProduceRequest::read(&body, header.api_version).unwrap();
                assert_eq!(places(&ours), places(&produce.asked()));
                *produce
            }
            other => panic!("API {other}"),
        };
        assert_eq!(theirs.version(), header.api_version, "as the client asked");
        theirs.response.bytes.clone()
    }
}

/// Returns the topics of a request, named or identified as in its version, and their partitions.
fn places(request: &ProduceRequest) -> BTreeSet<(String, Uuid, i32)> {
    let of_topic = request
        .topic_data
        .iter()
        .flat_map(|topic| topic.partition_data.iter().map(|data| (topic.name.clone(), topic.topic_id, data.index)));
    of_topic.collect()
}

/// Plays a scene. Returns how many batches the core considers written, and how many failed.
fn check(name: &str, scene: &Scene<'_>) -> [usize; 2] {
    let mut play = Play::new(scene);
    play.driver.handle(Input::Signal(Signal::Wanted { topic: scene.topic.as_str().into(), partitions: 0 }));
    play.pass();
    let topic =
        play.driver.accumulator.topic(&scene.topic).unwrap_or_else(|| panic!("{name}: {} is not known", scene.topic));
    let answer = scene.produce.answered::<ProduceResponse>();
    let answers: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
    let deliveries: Vec<_> = answers
        .iter()
        .map(|answer| {
            let record = NewRecord { timestamp: 1, value: Some(b"theirs"), ..Default::default() };
            let mut placed = Placed::new(Choice::Partition(answer.index), record);
            play.driver
                .accumulator
                .append(&topic, &mut placed, &mut Delivery::new)
                .unwrap_or_else(|_| panic!("there is room"))
        })
        .collect();
    play.pass();
    assert_eq!(play.said.iter().filter(|api| **api == ProduceRequest::KEY).count(), 1, "{name}: {:?}", play.said);
    let mut counts = [0; 2];
    for (answer, delivery) in answers.iter().zip(&deliveries) {
        match outcome(delivery) {
            Poll::Ready(Ok(metadata)) => {
                assert!(answer.error_code.is_none(), "{name}: {answer:?}");
                assert_eq!(
                    (metadata.partition(), metadata.offset()),
                    (answer.index, Some(answer.base_offset)),
                    "{name}"
                );
                if answer.log_append_time_ms >= 0 {
                    assert_eq!(metadata.timestamp(), answer.log_append_time_ms, "{name}");
                }
                counts[0] += 1;
            }
            Poll::Ready(Err(error)) => {
                assert_eq!(error.error_code(), Some(answer.error_code), "{name}: {error}");
                assert_eq!(error.topic_partition(), Some((scene.topic.as_str(), answer.index)), "{name}");
                counts[1] += 1;
            }
            Poll::Pending => panic!("{name}: nothing is known after {answer:?}"),
        }
    }
    counts
}

#[test]
fn the_core_comes_to_the_outcomes_that_captures_show() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    let mut counts: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let mut paths: Vec<_> = fs::read_dir(captures).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let frames: Vec<Frame> = Reader::new(File::open(&path).unwrap()).unwrap().collect::<Result<_, _>>().unwrap();
        let count = counts.entry(name.split('_').next().unwrap().to_owned()).or_default();
        count[0] += 1;
        for scene in scenes(&frames) {
            let [written, failed] = check(&name, &scene);
            count[1] += 1;
            count[2] += written;
            count[3] += failed;
        }
    }
    println!(
        "{:<26} {:>8} {:>7} {:>7} {:>6}  as the core takes it",
        "client", "captures", "answers", "written", "failed"
    );
    let mut all = [0; 4];
    for (client, count) in counts {
        println!("{client:<26} {:>8} {:>7} {:>7} {:>6}", count[0], count[1], count[2], count[3]);
        for (sum, n) in all.iter_mut().zip(count) {
            *sum += n;
        }
    }
    println!("{:<26} {:>8} {:>7} {:>7} {:>6}", "all", all[0], all[1], all[2], all[3]);
    assert_eq!(all, [48, 141, 187, 12], "captures are missing, or were not told");
}
