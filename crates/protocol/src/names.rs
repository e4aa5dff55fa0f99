//! Kafka's names of fields.

/// Converts a name to Kafka's form: `topic_authorized_operations` becomes `topicAuthorizedOperations`.
///
/// ```
/// use kurier_protocol::schema::kafka_name;
///
/// assert_eq!(kafka_name("throttle_time_ms"), "throttleTimeMs");
/// assert_eq!(kafka_name("v3_and_below_topics"), "v3AndBelowTopics");
/// ```
#[must_use]
pub fn kafka_name(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}
