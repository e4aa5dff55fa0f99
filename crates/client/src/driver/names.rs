//! Looks up host names in both directions, and resolves the bootstrap servers at build.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

pub(crate) use super::blocking::Answer;
use super::blocking::on_a_thread;
use kurier_engine::config::{Config, DnsLookup, HostPort};
use kurier_engine::error::{Cause, Error, ErrorKind};

/// Resolver for host names. Tests use one without a network.
pub(crate) trait Names: Send + Sync {
    /// Looks up the addresses of a host.
    fn addresses(&self, host: &HostPort) -> Answer<Vec<SocketAddr>>;

    /// Looks up the name of an address.
    fn name(&self, address: IpAddr) -> Answer<String>;
}

/// The name of a thread that looks up a name.
const THREAD: &str = "kurier-names";

/// The system's resolver.
#[derive(Debug)]
pub(crate) struct SystemNames;

impl Names for SystemNames {
    fn addresses(&self, host: &HostPort) -> Answer<Vec<SocketAddr>> {
        if let Some(address) = literal(host) {
            return Box::pin(std::future::ready(Ok(vec![SocketAddr::new(address, host.port)])));
        }
        let host = host.clone();
        on_a_thread(THREAD, move || (host.host.as_str(), host.port).to_socket_addrs().map(Iterator::collect))
    }

    fn name(&self, address: IpAddr) -> Answer<String> {
        on_a_thread(THREAD, move || Ok(dns_lookup::lookup_addr(&address)?))
    }
}

/// Returns the host's address, if it is given as one and not as a name.
pub(super) fn literal(host: &HostPort) -> Option<IpAddr> {
    host.host.parse().ok()
}

/// Why no bootstrap server has an address yet.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Cause>>);

impl Trouble {
    fn set(&self, why: Cause) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Returns the last look-up's error for each server.
    pub(super) fn get(&self) -> Cause {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        said.unwrap_or_else(|| "the resolver has not answered".into())
    }
}

/// Resolves the bootstrap servers. Returns the list as it is once one of its names has an address, or the canonical
/// names of all addresses (`client.dns.lookup`). Keeps trying for `bootstrap.resolve.timeout.ms`, if that is set.
/// Meanwhile `trouble` holds the reason for the failures.
pub(super) async fn bootstrap(config: &Config, names: &dyn Names, trouble: &Trouble) -> Result<Vec<HostPort>, Error> {
    let mut backoff = config.retry_backoff.max(Duration::from_millis(1));
    let retries = async {
        loop {
            match look_up(config, names).await {
                Ok(servers) => return Some(servers),
                Err(why) => trouble.set(why),
            }
            if config.bootstrap_resolve_timeout.is_zero() {
                return None;
            }
            tokio::time::sleep(backoff).await;
            backoff = backoff.saturating_mul(2).min(config.retry_backoff_max.max(backoff));
        }
    };
    let found = match patience(config) {
        Some((patience, _)) => tokio::time::timeout(patience, retries).await.ok().flatten(),
        None => retries.await,
    };
    found.ok_or_else(|| {
        let text = match patience(config) {
            Some((patience, key)) if !config.bootstrap_resolve_timeout.is_zero() => format!(
                "cannot resolve any name in bootstrap.servers within {key}, which is {}; check the names",
                patience.as_millis()
            ),
            _ => {
                "cannot resolve any name in bootstrap.servers; check the names, or set bootstrap.resolve.timeout.ms to \
                  keep trying"
                    .to_owned()
            }
        };
        Error::new(ErrorKind::Network, text).caused_by(trouble.get())
    })
}

/// Returns the timeout for look-ups, and the setting it comes from. Build waits at most `max.block.ms`; a value of 0
/// limits only sends.
fn patience(config: &Config) -> Option<(Duration, &'static str)> {
    let resolve = (config.bootstrap_resolve_timeout, "bootstrap.resolve.timeout.ms");
    let block = (config.max_block, "max.block.ms");
    [resolve, block].into_iter().filter(|(time, _)| !time.is_zero()).min_by_key(|(time, _)| *time)
}

/// Looks up all names once. The error lists the problem with each.
async fn look_up(config: &Config, names: &dyn Names) -> Result<Vec<HostPort>, Cause> {
    let servers = &config.bootstrap_servers;
    let mut troubles = Vec::new();
    match config.dns_lookup {
        DnsLookup::AllAddresses => {
            if servers.iter().any(|server| literal(server).is_some()) || first(servers, names, &mut troubles).await {
                return Ok(servers.to_vec());
            }
        }
        DnsLookup::CanonicalNames => {
            let canonical = canonical(servers, names, &mut troubles).await;
            if !canonical.is_empty() {
                return Ok(canonical);
            }
        }
    }
    Err(joined(troubles))
}

/// Returns one cause for several: a single one keeps its own causes, several become a list.
fn joined(mut troubles: Vec<Cause>) -> Cause {
    match troubles.pop() {
        Some(only) if troubles.is_empty() => only,
        last => {
            let each: Vec<String> = troubles.iter().chain(&last).map(|trouble| format!("{trouble:#}")).collect();
            each.join(", ").into()
        }
    }
}

fn no_address(server: &HostPort) -> Cause {
    Cause::from("its name has no address").context(server.to_string())
}

/// Whether one of these servers has an address. All look-ups run at once, so that a slow one delays no other.
async fn first(servers: &[HostPort], names: &dyn Names, troubles: &mut Vec<Cause>) -> bool {
    let mut asked: Vec<_> = servers.iter().map(|server| (server, names.addresses(server))).collect();
    poll_fn(|cx| {
        let mut is_found = false;
        asked.retain_mut(|(server, answer)| match answer.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(found) => {
                match found {
                    Ok(addresses) if !addresses.is_empty() => is_found = true,
                    Ok(_) => troubles.push(no_address(server)),
                    Err(error) => troubles.push(Cause::from(error).context(server.to_string())),
                }
                false
            }
        });
        if is_found || asked.is_empty() { Poll::Ready(is_found) } else { Poll::Pending }
    })
    .await
}

/// Returns the canonical name of each address of each server, like Java's `getCanonicalHostName`: the address itself if
/// it has no name, or a name that does not resolve back to it.
async fn canonical(servers: &[HostPort], names: &dyn Names, troubles: &mut Vec<Cause>) -> Vec<HostPort> {
    let asked: Vec<_> = servers.iter().map(|server| (server, names.addresses(server))).collect();
    let mut seen = BTreeSet::new();
    let mut canonical = Vec::new();
    for (server, answer) in asked {
        let addresses = match answer.await {
            Ok(addresses) if addresses.is_empty() => {
                troubles.push(no_address(server));
                continue;
            }
            Ok(addresses) => addresses,
            Err(error) => {
                troubles.push(Cause::from(error).context(server.to_string()));
                continue;
            }
        };
        for address in addresses {
            let mut named = HostPort { host: address.ip().to_string(), port: server.port };
            if let Ok(name) = names.name(address.ip()).await {
                let forward = HostPort { host: name, port: server.port };
                let back = names.addresses(&forward).await.unwrap_or_default();
                if back.iter().any(|found| found.ip() == address.ip()) {
                    named = forward;
                }
            }
            if seen.insert(named.clone()) {
                canonical.push(named);
            }
        }
    }
    canonical
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::io;

    use super::*;

    /// Names made up by a test.
    #[derive(Debug, Default)]
    pub(crate) struct MadeUp {
        pub(crate) addresses: HashMap<&'static str, Vec<&'static str>>,
        pub(crate) names: HashMap<&'static str, &'static str>,
        /// How many look-ups fail before one succeeds.
        pub(crate) failures: Mutex<u32>,
        pub(crate) is_silent: bool,
    }

    fn not_found() -> io::Error {
        io::Error::other("no such host")
    }

    impl Names for MadeUp {
        fn addresses(&self, host: &HostPort) -> Answer<Vec<SocketAddr>> {
            if self.is_silent {
                return Box::pin(std::future::pending());
            }
            let mut failures = self.failures.lock().unwrap();
            let is_late = *failures > 0;
            *failures = failures.saturating_sub(1);
            let found = self.addresses.get(host.host.as_str()).filter(|_| !is_late);
            let found = found.map(|all| all.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), host.port)).collect());
            Box::pin(std::future::ready(found.ok_or_else(not_found)))
        }

        fn name(&self, address: IpAddr) -> Answer<String> {
            let name = self.names.get(address.to_string().as_str()).map(|name| (*name).to_owned());
            Box::pin(std::future::ready(name.ok_or_else(not_found)))
        }
    }

    fn config(settings: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        config.check().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn bootstrap_needs_one_name_that_resolves() {
        const NONE: &str = "cannot resolve any name in bootstrap.servers; check the names, or set \
                            bootstrap.resolve.timeout.ms to keep trying: a:1: no such host, b:2: no such host";
        for (servers, addresses, expected) in [
            ("a:1,b:2", &["a", "b"][..], None),
            ("a:1,b:2", &["b"], None),
            ("a:1,10.0.0.1:2", &[], None),
            ("a:1,b:2", &[], Some(NONE)),
        ] {
            let addresses = addresses.iter().map(|name| (*name, vec!["10.0.0.1"])).collect();
            let names = MadeUp { addresses, ..Default::default() };
            let found = bootstrap(&config(&[("bootstrap.servers", servers)]), &names, &Trouble::default()).await;
            match (found, expected) {
                // Names that do not resolve yet stay in the list; each connection looks them up again.
                (Ok(found), None) => assert_eq!(found.len(), 2, "{servers}"),
                (Err(error), Some(text)) => {
                    assert_eq!((error.kind(), &*format!("{error:#}")), (ErrorKind::Network, text))
                }
                (found, _) => panic!("{servers}: {found:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bootstrap_keeps_trying_for_its_timeout() {
        for (resolve, block, failures, expected) in [
            ("0", "60000", 1, Some("cannot resolve any name in bootstrap.servers; check the names")),
            ("5000", "60000", 3, None),
            (
                "5000",
                "60000",
                u32::MAX,
                Some("within bootstrap.resolve.timeout.ms, which is 5000; check the names: a:1: no"),
            ),
            ("70000", "60000", u32::MAX, Some("within max.block.ms, which is 60000")),
            ("5000", "0", u32::MAX, Some("within bootstrap.resolve.timeout.ms, which is 5000")),
        ] {
            let settings =
                [("bootstrap.servers", "a:1"), ("bootstrap.resolve.timeout.ms", resolve), ("max.block.ms", block)];
            let names = MadeUp {
                addresses: [("a", vec!["10.0.0.1"])].into(),
                failures: Mutex::new(failures),
                ..Default::default()
            };
            let found = bootstrap(&config(&settings), &names, &Trouble::default()).await;
            match (found, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(text)) => assert!(format!("{error:#}").contains(text), "{error:#}"),
                (found, _) => panic!("{settings:?}: {found:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bootstrap_stops_waiting_for_a_silent_resolver() {
        let names = MadeUp { is_silent: true, ..Default::default() };
        let error = bootstrap(&config(&[("bootstrap.servers", "a:1")]), &names, &Trouble::default()).await.unwrap_err();
        assert!(format!("{error:#}").ends_with("the resolver has not answered"), "{error:#}");
    }

    #[tokio::test(start_paused = true)]
    async fn canonical_names_replace_bootstrap_servers() {
        let names = MadeUp {
            addresses: [
                ("kafka", vec!["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]),
                ("alias", vec!["10.0.0.1"]),
                ("one.example", vec!["10.0.0.1"]),
                ("two.example", vec!["10.0.0.2", "10.0.0.1"]),
                ("forged.example", vec!["192.0.2.1"]),
            ]
            .into(),
            // The third name does not resolve back to its address, and the fourth address has no name.
            names: [("10.0.0.1", "one.example"), ("10.0.0.2", "two.example"), ("10.0.0.3", "forged.example")].into(),
            ..Default::default()
        };
        let key = ("client.dns.lookup", "resolve_canonical_bootstrap_servers_only");
        let found =
            bootstrap(&config(&[("bootstrap.servers", "kafka:1,alias:1,gone:1"), key]), &names, &Trouble::default())
                .await
                .unwrap();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["one.example:1", "two.example:1", "10.0.0.3:1", "10.0.0.4:1"]);
        let error =
            bootstrap(&config(&[("bootstrap.servers", "gone:1"), key]), &names, &Trouble::default()).await.unwrap_err();
        assert!(format!("{error:#}").contains("gone:1: no such host"), "{error:#}");
    }
}
