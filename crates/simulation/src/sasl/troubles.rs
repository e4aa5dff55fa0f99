//! Faults of SASL: those that change an answer wait for a request, the others happen at once.

use std::time::Duration;

use super::Login;
use crate::fault_row::FaultRow;
use crate::network::Event;
use crate::world::{World, ms};
use kurier_engine::core::Input;

/// A fault of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A node's signature is wrong.
    WrongProof,
    /// The connection ends at one of the steps, before or after the node has read the request.
    Cut,
    /// Nodes close connections instead of answering tokens.
    SilentClose,
    /// An answer comes late, perhaps too late.
    LateAnswer,
    /// A node's token has 64 KiB.
    HugeAnswer,
    /// A session lasts a millisecond.
    TinyLifetime,
    /// A node refuses to renew a session.
    RefuseRenewal,
    /// A node answers that the client renews its session too early.
    TooEarly,
    /// A node refuses right credentials.
    RefuseLogin,
    /// The password changes, and cluster and producer get the new one at different times.
    ChangePassword,
    /// The user changes, and cluster and producer get the new one at different times.
    ChangeUser,
    /// The producer's certificates change.
    ChangeCertificates,
}

/// Each fault with its highest weight.
pub(super) const TROUBLES: [(Trouble, u32); 12] = [
    (Trouble::WrongProof, 8),
    (Trouble::Cut, 4),
    (Trouble::SilentClose, 3),
    (Trouble::LateAnswer, 4),
    (Trouble::HugeAnswer, 2),
    (Trouble::TinyLifetime, 2),
    (Trouble::RefuseRenewal, 4),
    (Trouble::TooEarly, 2),
    (Trouble::RefuseLogin, 3),
    (Trouble::ChangePassword, 4),
    (Trouble::ChangeUser, 3),
    (Trouble::ChangeCertificates, 4),
];

/// A fault that waits for requests.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) trouble: Trouble,
    pub(super) times: u32,
    /// How many matching requests to let pass first.
    pub(super) skips: u32,
}

impl World<'_> {
    /// Lets a fault of SASL happen in some of the steps.
    pub(crate) fn trouble_sasl(&mut self) {
        let Some(sasl) = &mut self.sasl else { return };
        let sum: u32 = sasl.weights.iter().map(|(_, weight)| weight).sum();
        if sum == 0 || sasl.random.u32(0..100) >= sasl.rate {
            return;
        }
        let mut at = sasl.random.u32(0..sum);
        let is_it = |(_, weight): &&(Trouble, u32)| match at.checked_sub(*weight) {
            Some(left) => {
                at = left;
                false
            }
            None => true,
        };
        let Some((trouble, _)) = sasl.weights.iter().find(is_it).copied() else { return };
        trace!(self, "-- {trouble:?}");
        match trouble {
            Trouble::ChangePassword | Trouble::ChangeUser => self.change_login(trouble),
            Trouble::ChangeCertificates => self.change_certificates(),
            Trouble::SilentClose | Trouble::RefuseLogin => self.plan_trouble(trouble, 5, 1),
            Trouble::Cut => self.plan_trouble(trouble, 1, 4),
            _ => self.plan_trouble(trouble, 2, 1),
        }
    }

    fn plan_trouble(&mut self, trouble: Trouble, times_max: u32, skips: u32) {
        let Some(sasl) = &mut self.sasl else { return };
        let (times, skips) = (sasl.random.u32(1..=times_max), sasl.random.u32(0..skips));
        sasl.planned.push(Planned { trouble, times, skips });
    }

    /// Changes password or user. Cluster and producer follow at different times.
    fn change_login(&mut self, trouble: Trouble) {
        let now = self.now();
        let Some(sasl) = &mut self.sasl else { return };
        sasl.names += 1;
        let (user, password) = match trouble {
            Trouble::ChangeUser => (format!("user-{}", sasl.names), sasl.target.password.clone()),
            _ => (sasl.target.user.clone(), format!("secret-{}", sasl.names)),
        };
        sasl.target = Login { user, password };
        let gap = match sasl.random.u32(0..8) {
            0..3 => Duration::ZERO,
            3..7 => ms(sasl.random.u64(0..5_000)),
            _ => ms(sasl.random.u64(5_000..60_000)),
        };
        let (accounts, credentials) = match sasl.random.bool() {
            true => (now, now + gap),
            false => (now + gap, now),
        };
        self.at(accounts, Event::Accounts);
        self.at(credentials, Event::Credentials);
    }

    /// The cluster accepts only the newest login from now on.
    pub(crate) fn change_accounts(&mut self) {
        let Some(sasl) = &mut self.sasl else { return };
        for name in 0..=sasl.names {
            let user = format!("user-{name}");
            let password = Some(sasl.target.password.as_str()).filter(|_| user == sasl.target.user);
            self.cluster.set_password(&user, password);
        }
    }

    /// The producer gets the newest login.
    pub(crate) fn change_credentials(&mut self) {
        self.drain();
        let Some(sasl) = &mut self.sasl else { return };
        let row = match sasl.login.user == sasl.target.user {
            true => (FaultRow::PasswordChanged, "authenticated with the next password"),
            false => (FaultRow::UserChanged, "authenticated as the next user"),
        };
        if sasl.login != sasl.target {
            sasl.marks.insert(row);
        }
        sasl.login = sasl.target.clone();
        sasl.breaker.change();
        self.pace.free_ports();
        for line in self.lines.values_mut().filter(|line| line.is_open && line.talk.is_proven) {
            if line.talk.user != sasl.login.user {
                line.talk.is_retiring = Some("another user");
            }
        }
        let credentials = sasl.credentials();
        trace!(self, "the producer gets other credentials");
        self.driver.set_credentials(credentials, None);
    }

    fn change_certificates(&mut self) {
        self.drain();
        let Some(sasl) = &mut self.sasl else { return };
        sasl.marks.insert((FaultRow::CertificatesChanged, "ready on a connection after the certificates changed"));
        for line in self.lines.values_mut().filter(|line| line.is_open) {
            line.talk.is_retiring = Some("other certificates");
        }
        self.driver.handle(Input::TlsChanged);
    }

    /// Ends all faults of SASL. Gives the producer its credentials again if it would otherwise wait for long.
    pub(crate) fn calm_sasl(&mut self) {
        let Some(sasl) = &mut self.sasl else { return };
        sasl.planned.clear();
        let is_patient = sasl.breaker.refusals > 1 || sasl.login != sasl.target;
        self.change_accounts();
        if is_patient {
            self.change_credentials();
        }
    }
}
