//! Generator of testdata/events.txt: 20,000 events of an imaginary shop, `user<TAB>json`.
//!
//! To change the file, change the generator, run this test, and copy its output as its message says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

const SEED: u64 = 20_261_122;
const EVENTS: usize = 20_000;

/// The first event's time, in milliseconds since 1970: a Sunday in November 2026.
const FIRST_MS: u64 = 1_795_305_600_000;

/// A country with its currency, given names, family names, cities and searches.
struct Country {
    currency: &'static str,
    given: [&'static str; 6],
    family: [&'static str; 6],
    cities: [&'static str; 3],
    wanted: [&'static str; 4],
}

/// One country per script: Latin with and without diacritics (precomposed in German, combining in Vietnamese), Hangul,
/// Japanese with a character beyond 16 bits, Chinese, Cyrillic, Greek, Arabic and Hebrew (right to left), Devanagari.
const COUNTRIES: [Country; 11] = [
    Country {
        currency: "USD",
        given: ["Ada", "Grace", "Linus", "Radia", "Ken", "Barbara"],
        family: ["O'Neill", "Hopper", "Smith", "Perlman", "Johnson-Lee", "Liskov"],
        cities: ["Portland", "St. Louis", "Albuquerque"],
        wanted: ["running shoes", "27\" monitor", "C:\\> mug", "tea & biscuits"],
    },
    Country {
        currency: "EUR",
        given: ["Zoë", "Jürgen", "Käthe", "Sören", "Ulrike", "Moritz"],
        family: ["Müller", "Weiß", "Schröder", "Groß", "Köhler", "Vogel"],
        cities: ["Köln", "München", "Gießen"],
        wanted: ["Käsemesser", "Fußball", "Öllampe", "Glühwein"],
    },
    Country {
        currency: "VND",
        given: [
            "Nguye\u{302}\u{303}n",
            "Hu\u{31b}o\u{31b}ng",
            "Đu\u{31b}\u{301}c",
            "Tha\u{309}o",
            "Linh",
            "Tua\u{302}\u{301}n",
        ],
        family: ["Tra\u{302}\u{300}n", "Pha\u{323}m", "Vo\u{303}", "Đa\u{323}\u{306}ng", "Bu\u{300}i", "Le\u{302}"],
        cities: ["Ha\u{300} No\u{323}\u{302}i", "Hue\u{302}\u{301}", "Đa\u{300} La\u{323}t"],
        wanted: ["ca\u{300} phe\u{302}", "no\u{301}n la\u{301}", "a\u{301}o da\u{300}i", "tra\u{300} sen"],
    },
    Country {
        currency: "KRW",
        given: ["서연", "민준", "하늘", "지우", "은별", "도윤"],
        family: ["김", "이", "박", "최", "정", "남궁"],
        cities: ["서울", "부산", "제주시"],
        wanted: ["전기 주전자", "한복", "고추장", "책갈피"],
    },
    Country {
        currency: "JPY",
        given: ["さくら", "健太", "ハナコ", "翔", "美咲", "大輔"],
        family: ["𠮷田", "佐藤", "鈴木", "髙橋", "渡邉", "小林"],
        cities: ["東京", "大阪", "札幌"],
        wanted: ["抹茶セット", "折り紙", "イヤホン", "風呂敷"],
    },
    Country {
        currency: "CNY",
        given: ["伟", "芳", "秀英", "敏", "静", "磊"],
        family: ["王", "李", "张", "刘", "欧阳", "陈"],
        cities: ["北京", "上海", "乌鲁木齐"],
        wanted: ["茶叶", "自行车", "毛笔", "充电宝"],
    },
    Country {
        currency: "UAH",
        given: ["Оксана", "Тарас", "Леся", "Богдан", "Соломія", "Юрій"],
        family: ["Шевченко", "Коваленко", "Бойко", "Мельник", "Ткачук", "Їжак"],
        cities: ["Київ", "Львів", "Запоріжжя"],
        wanted: ["вишиванка", "навушники", "чай", "гаманець"],
    },
    Country {
        currency: "EUR",
        given: ["Ελένη", "Γιώργος", "Άννα", "Νίκος", "Σοφία", "Δήμητρα"],
        family: ["Παπαδάκης", "Γεωργίου", "Οικονόμου", "Βλάχος", "Ξένος", "Δήμου"],
        cities: ["Αθήνα", "Θεσσαλονίκη", "Ηράκλειο"],
        wanted: ["ελαιόλαδο", "σανδάλια", "βιβλίο", "καφές"],
    },
    Country {
        currency: "EGP",
        given: ["فاطمة", "محمد", "ليلى", "يوسف", "نور", "عمر"],
        family: ["حسن", "عبد الله", "المصري", "خليل", "منصور", "سالم"],
        cities: ["القاهرة", "الإسكندرية", "أسوان"],
        wanted: ["سجادة", "قهوة بالهيل", "هاتف", "كتاب"],
    },
    Country {
        currency: "ILS",
        given: ["נועה", "דוד", "תמר", "יוסי", "מיכל", "אורי"],
        family: ["כהן", "לוי", "מזרחי", "פרידמן", "ביטון", "שפירא"],
        cities: ["ירושלים", "חיפה", "באר שבע"],
        wanted: ["אוזניות", "ספר", "תה נענע", "כדור"],
    },
    Country {
        currency: "INR",
        given: ["नेहा", "अर्जुन", "दीपिका", "रवि", "सुनीता", "कृष्ण"],
        family: ["शर्मा", "वर्मा", "सिंह", "गुप्ता", "मिश्रा", "त्रिपाठी"],
        cities: ["मुंबई", "दिल्ली", "वाराणसी"],
        wanted: ["साड़ी", "मसाला चाय", "घड़ी", "पतंग"],
    },
];

/// Reviews with quotes, backslashes, line breaks and tabs, which JSON must escape, and with emoji.
const REVIEWS: [&str; 8] = [
    "Just what I wanted 👍",
    "She said \"never again\", and I agree.",
    "Arrived late.\nBox was open.",
    "5\t4\t5 (price, quality, delivery)",
    "Größe passt, Farbe nicht 🙁",
    "最高です！また買います 🎉",
    "👩🏽‍🚀 approved",
    "path C:\\temp\\new on the label?!",
];

/// SplitMix64 (Steele, Lea, Flood 2014), implemented here so that a library release cannot change it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Returns a number from 0 up to but excluding `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Returns every given name with every family name: 36 users per country.
fn users() -> Vec<(String, &'static Country)> {
    let mut users = Vec::new();
    for given in 0..6 {
        for family in 0..6 {
            // Interleave the countries, so that the busiest users come from all of them.
            let named = |country: &'static Country| {
                (format!("{} {}", country.given[given], country.family[(family + given) % 6]), country)
            };
            users.extend(COUNTRIES.iter().map(named));
        }
    }
    users
}

fn events() -> String {
    let mut random = Random(SEED);
    let users = users();
    // Zipf's law in integers: the user of rank r occurs 1/r as often as the first.
    let mut ends = Vec::new();
    let mut total = 0;
    for rank in 1..=users.len() {
        total += 1_000_000 / rank;
        ends.push(total);
    }
    let mut now = FIRST_MS;
    let mut lines = String::new();
    for sequence in 0..EVENTS {
        let at = random.below(total);
        let (user, country) = &users[ends.partition_point(|end| *end <= at)];
        now += u64::try_from(random.below(500)).unwrap();
        let event = event(&mut random, sequence, now, country);
        lines.push_str(&format!("{user}\t{event}\n"));
    }
    lines
}

fn event(random: &mut Random, sequence: usize, now: u64, country: &Country) -> Value {
    let kinds = ["view", "view", "view", "view", "search", "search", "cart", "cart", "order", "review", "login"];
    let kind = *random.pick(&kinds);
    let mut event = Map::new();
    let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
    set("seq", sequence.into());
    set("ts", now.into());
    set("event", kind.into());
    set("city", (*random.pick(&country.cities)).into());
    match kind {
        "view" => {
            set("url", format!("/p/{}?ref={}", random.below(5000), random.pick(&["home", "mail", "ad"])).into());
            set("ms", random.below(3000).into());
        }
        "search" => {
            set("query", (*random.pick(&country.wanted)).into());
            set("hits", random.below(200).into());
        }
        "cart" => {
            set("item", item(random, country));
            set("coupon", if random.below(4) == 0 { "NOËL-2026".into() } else { Value::Null });
        }
        "order" => {
            let count = 1 + random.below(4);
            set("order", format!("{:016x}", random.next()).into());
            set("items", (0..count).map(|_| item(random, country)).collect());
            set("currency", country.currency.into());
        }
        "review" => {
            set("stars", (1 + random.below(5)).into());
            set("text", (*random.pick(&REVIEWS)).into());
        }
        _ => {
            set("ok", (random.below(20) > 0).into());
            set("agent", (*random.pick(&["Mozilla/5.0 (X11; Linux x86_64)", "okhttp/4.12.0"])).into());
        }
    }
    Value::Object(event)
}

fn item(random: &mut Random, country: &Country) -> Value {
    let cents = 99 + random.below(50_000);
    json!({ "name": random.pick(&country.wanted), "qty": 1 + random.below(3), "price": format!("{}.{:02}", cents / 100, cents % 100) })
}

#[test]
fn committed_file_matches_the_generator() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/events.txt");
    let events = events();
    // Not assert_eq: its message would print both files.
    if fs::read(&committed).unwrap_or_default() != events.as_bytes() {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("events.txt");
        fs::write(&fresh, events).unwrap();
        panic!(
            "testdata/events.txt is not what its generator writes; if the generator is right:\ncp {} {}",
            fresh.display(),
            committed.display()
        );
    }
}

#[test]
fn events_cover_the_cases_of_an_end_to_end_test() {
    let text = events();
    assert!(text.len() < 4_000_000 && text.ends_with('\n') && !text.contains('\r'), "{} bytes", text.len());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines.iter().collect::<BTreeSet<_>>().len()), (EVENTS, EVENTS));

    let mut by_user = BTreeMap::<&str, usize>::new();
    for line in &lines {
        let (user, event) = line.split_once('\t').unwrap();
        assert!(!event.contains('\t') && (60..=400).contains(&event.len()), "{} bytes: {line}", event.len());
        assert!(serde_json::from_str::<Value>(event).unwrap().is_object());
        *by_user.entry(user).or_default() += 1;
    }
    let (most, fewest) = (by_user.values().max().unwrap(), by_user.values().min().unwrap());
    assert!((200..1000).contains(&by_user.len()) && *most > 2000 && *fewest < 20, "{} users", by_user.len());
    assert!(by_user.keys().filter(|user| !user.is_ascii()).count() > 300);
}
