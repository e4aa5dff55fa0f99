//! Validates the settings against each other, and adjusts defaults to the explicit settings.

use std::time::Duration;

use kurier_compression::{Compression, CompressionType};

use super::values::{Value, refused};
use super::{Acks, Config};
use crate::error::Error;

/// The longest string that a request header can hold, in bytes.
const WIRE_STRING_MAX: usize = 32_767;

impl Config {
    /// Validates the settings against each other, as Java does. If two settings conflict, a default is adjusted, and
    /// [`explain`](Self::explain) reports it. A conflict between two explicit settings is an error.
    #[doc(hidden)]
    pub fn check(mut self) -> Result<Self, Error> {
        if self.bootstrap_servers.is_empty() {
            return Err(refused("bootstrap.servers is missing: name at least one broker as host:port".to_owned()));
        }
        self.check_limits()?;
        if self.client_id.len() > WIRE_STRING_MAX {
            let len = self.client_id.len();
            return Err(refused(format!(
                "client.id has {len} bytes, and Kafka's protocol allows {WIRE_STRING_MAX}: choose a shorter name"
            )));
        }
        self.check_idempotence()?;
        self.check_delivery_timeout()?;
        self.compression()?;
        self.check_security()?;
        // As in Java, a first wait that is set without a longest wait is also the longest.
        if self.is_made("reconnect.backoff.ms") && !self.is_made("reconnect.backoff.max.ms") {
            self.reconnect_backoff_max = self.reconnect_backoff;
            let why = format!("{}, as reconnect.backoff.ms", self.reconnect_backoff.as_millis());
            self.adjusted.insert("reconnect.backoff.max.ms", why);
        }
        if self.rack_aware && self.client_rack.is_empty() {
            return Err(refused(
                "partitioner.rack.aware is true, but client.rack is empty: set client.rack to the broker.rack of the nearest \
                 brokers, or leave partitioner.rack.aware out"
                    .to_owned(),
            ));
        }
        if !self.adaptive_partitioning && self.availability_timeout > Duration::ZERO {
            self.availability_timeout = Duration::ZERO;
            let why = "0, because partitioner.adaptive.partitioning.enable is false".to_owned();
            self.adjusted.insert("partitioner.availability.timeout.ms", why);
        }
        Ok(self)
    }

    fn check_idempotence(&mut self) -> Result<(), Error> {
        /// Brokers remember this many batches per producer and partition.
        const IN_FLIGHT_MAX: usize = 5;
        if !self.enable_idempotence {
            return Ok(());
        }
        let conflict = if self.acks != Acks::All {
            Some(format!("acks is {}, and it needs all", self.acks.shown()))
        } else if self.retries == 0 {
            Some("retries is 0, and it needs at least 1".to_owned())
        } else {
            None
        };
        if let Some(conflict) = conflict {
            if self.is_made("enable.idempotence") {
                return Err(refused(format!("enable.idempotence cannot be true: {conflict}")));
            }
            self.enable_idempotence = false;
            self.adjusted.insert("enable.idempotence", format!("false, because {conflict}"));
        } else if self.max_in_flight > IN_FLIGHT_MAX {
            return Err(refused(format!(
                "max.in.flight.requests.per.connection is {}, and enable.idempotence, which is true, allows 5: lower the one or \
                 switch off the other",
                self.max_in_flight
            )));
        }
        Ok(())
    }

    /// Ensures that `delivery.timeout.ms` is at least `linger.ms` + `request.timeout.ms`, as Java requires. Adjusts
    /// defaults in this order: raises the delivery timeout, lowers the request timeout, lowers the linger.
    fn check_delivery_timeout(&mut self) -> Result<(), Error> {
        let least = self.linger.saturating_add(self.request_timeout);
        if self.delivery_timeout >= least {
            return Ok(());
        }
        let [delivery, linger, request] =
            ["delivery.timeout.ms", "linger.ms", "request.timeout.ms"].map(|name| self.written(name));
        let millis = |time: Duration| time.as_millis();
        if !self.is_made("delivery.timeout.ms") {
            self.delivery_timeout = least;
            let why = format!("{}, which is {linger} + {request}", millis(least));
            self.adjusted.insert("delivery.timeout.ms", why);
            return Ok(());
        }
        let timeout = self.delivery_timeout;
        match (self.is_made("linger.ms"), self.is_made("request.timeout.ms")) {
            (true, true) => Err(refused(format!(
                "{delivery} is {}, but must be at least {linger} + {request}, which is {}: raise the first, or lower one of \
                 the others",
                millis(timeout),
                millis(least)
            ))),
            (false, true) if timeout < self.request_timeout => Err(refused(format!(
                "{delivery} is {}, but must be at least {request}, which is {}: raise the first, or lower the other",
                millis(timeout),
                millis(self.request_timeout)
            ))),
            (false, true) => {
                self.linger = timeout.saturating_sub(self.request_timeout);
                let why = format!("{}, so that {delivery} has room for {request}", millis(self.linger));
                self.adjusted.insert("linger.ms", why);
                Ok(())
            }
            (true, false) if timeout <= self.linger => Err(refused(format!(
                "{delivery} is {}, but must be above {linger}, which is {}: raise the first, or lower the other",
                millis(timeout),
                millis(self.linger)
            ))),
            (is_linger_made, false) => {
                // If a request would have no time left, the default linger is lowered too.
                if !is_linger_made && timeout <= self.linger {
                    self.linger = Duration::ZERO;
                    let why = format!("0, because {delivery} is {}", millis(timeout));
                    self.adjusted.insert("linger.ms", why);
                }
                self.request_timeout = timeout.saturating_sub(self.linger);
                let why = format!("{}, which is {delivery} - {linger}", millis(self.request_timeout));
                self.adjusted.insert("request.timeout.ms", why);
                Ok(())
            }
        }
    }

    /// Returns the codec with its level.
    #[doc(hidden)]
    pub fn compression(&self) -> Result<Compression, Error> {
        let (key, level) = match self.compression_type {
            CompressionType::None | CompressionType::Snappy => ("", None),
            CompressionType::Gzip => ("compression.gzip.level", Some(self.gzip_level)),
            CompressionType::Lz4 => ("compression.lz4.level", Some(self.lz4_level)),
            CompressionType::Zstd => ("compression.zstd.level", Some(self.zstd_level)),
        };
        let compression = Compression::new(self.compression_type);
        let compression = match level {
            Some(level) => compression
                .with_level(level)
                .map_err(|error| refused(format!("{key} cannot be {level}")).caused_by(error))?,
            None => compression,
        };
        compression.codec().map_err(|error| {
            refused(format!("compression.type cannot be {}", self.compression_type)).caused_by(error)
        })?;
        Ok(compression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Explicit settings, and the resulting delivery.timeout.ms, linger.ms and request.timeout.ms, or the error.
    type Case = (&'static [(&'static str, &'static str)], Result<[u64; 3], &'static str>);

    #[test]
    fn default_gives_way_to_a_written_timeout() {
        const DELIVERY: &str = "delivery.timeout.ms";
        const LINGER: &str = "linger.ms";
        const REQUEST: &str = "request.timeout.ms";
        let cases: &[Case] = &[
            (&[], Ok([120_000, 5, 30_000])),
            (&[(DELIVERY, "40000")], Ok([40_000, 5, 30_000])),
            (&[(DELIVERY, "30005")], Ok([30_005, 5, 30_000])),
            (&[(DELIVERY, "30004")], Ok([30_004, 5, 29_999])),
            (&[(DELIVERY, "10000")], Ok([10_000, 5, 9_995])),
            (&[(DELIVERY, "6")], Ok([6, 5, 1])),
            (&[(DELIVERY, "5")], Ok([5, 0, 5])),
            (&[(DELIVERY, "1")], Ok([1, 0, 1])),
            (&[(LINGER, "100000")], Ok([130_000, 100_000, 30_000])),
            (&[(REQUEST, "300000")], Ok([300_005, 5, 300_000])),
            (&[(LINGER, "7"), (REQUEST, "200000")], Ok([200_007, 7, 200_000])),
            (&[(DELIVERY, "10000"), (LINGER, "100")], Ok([10_000, 100, 9_900])),
            (&[(DELIVERY, "101"), (LINGER, "100")], Ok([101, 100, 1])),
            (
                &[(DELIVERY, "100"), (LINGER, "100")],
                Err(
                    "delivery.timeout.ms is 100, but must be above linger.ms, which is 100: raise the first, or lower the other",
                ),
            ),
            (&[(DELIVERY, "10000"), (REQUEST, "9999")], Ok([10_000, 1, 9_999])),
            (&[(DELIVERY, "10000"), (REQUEST, "10000")], Ok([10_000, 0, 10_000])),
            (
                &[(DELIVERY, "10000"), (REQUEST, "10001")],
                Err("delivery.timeout.ms is 10000, but must be at least request.timeout.ms, which is 10001"),
            ),
            (&[(DELIVERY, "1000"), (LINGER, "1"), (REQUEST, "999")], Ok([1_000, 1, 999])),
            (
                &[(DELIVERY, "1000"), (LINGER, "2"), (REQUEST, "999")],
                Err("delivery.timeout.ms is 1000, but must be at least linger.ms + request.timeout.ms, which is 1001"),
            ),
            // Errors name the keys as they were written.
            (
                &[("message.timeout.ms", "100"), ("queue.buffering.max.ms", "200")],
                Err("message.timeout.ms is 100, but must be above queue.buffering.max.ms, which is 200"),
            ),
            (
                &[("message.timeout.ms", "100"), ("socket.timeout.ms", "200")],
                Err("message.timeout.ms is 100, but must be at least socket.timeout.ms, which is 200"),
            ),
        ];
        for (written, expected) in cases {
            let mut config = Config::default();
            config.set("bootstrap.servers", "h:1").unwrap();
            for (key, value) in *written {
                config.set(key, value).unwrap();
            }
            match (config.check(), expected) {
                (Ok(config), Ok(expected)) => {
                    let times = [config.delivery_timeout, config.linger, config.request_timeout];
                    assert_eq!(times, expected.map(Duration::from_millis), "{written:?}");
                    for ((name, time), default) in
                        [DELIVERY, LINGER, REQUEST].into_iter().zip(times).zip([120_000, 5, 30_000])
                    {
                        let line = config.explain().into_iter().find(|line| line.key == name).unwrap();
                        let is_adjusted = line.why.starts_with("adjusted to");
                        let is_written = written.iter().any(|(key, _)| *key == name);
                        assert_eq!(is_adjusted, !is_written && time.as_millis() != default, "{written:?}: {line}");
                    }
                }
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{written:?}: {error}"),
                (found, _) => panic!("{written:?}: {found:?}"),
            }
        }
    }
}
