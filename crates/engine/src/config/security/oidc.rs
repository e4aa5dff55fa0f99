//! Validates the settings of a token endpoint against each other.

use std::net::IpAddr;
use std::time::Duration;

use kurier_security::{Assertion, ClientProof, OauthLogin, TokenClient};

use super::super::Config;
use super::super::origin::{Made, Origin};
use super::super::values::refused;
use super::choices::{GrantType, OauthMethod, TlsVersions, TokenRetriever};
use super::endpoint::{EndpointUrl, TokenUrl};
use super::sasl::{JAAS, check_text};
use super::{AssertionSettings, AssertionSource, OidcSettings, TlsSettings, Trust, endpoint_in_the_clear};
use crate::error::Error;

const URL: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
const METHOD: &str = "sasl.oauthbearer.method";
const RETRIEVER: &str = "sasl.oauthbearer.jwt.retriever.class";

impl Config {
    /// Checks that `sasl.oauthbearer.method` and `sasl.oauthbearer.jwt.retriever.class` agree with the URL.
    pub(super) fn check_token_url(&self, login: &OauthLogin) -> Result<(), Error> {
        let disagree = |key: &'static str, value: &str, what: &str| {
            Err(refused(format!("{key} is {value}, but {}: make them agree", what.replace("URL", self.written(URL)))))
        };
        let endpoint = "URL names a token endpoint";
        let file = "URL names a file";
        let nothing = "URL is missing";
        let place = match &self.token_url {
            Some(TokenUrl::Endpoint(_)) => endpoint,
            Some(TokenUrl::File(_)) => file,
            None => nothing,
        };
        match (self.token_retriever, &self.token_url) {
            (TokenRetriever::Default, _)
            | (TokenRetriever::File, Some(TokenUrl::File(_)))
            | (TokenRetriever::ClientCredentials | TokenRetriever::JwtBearer, Some(TokenUrl::Endpoint(_))) => {}
            (retriever, _) => return disagree(RETRIEVER, retriever.name(), place),
        }
        if self.token_retriever == TokenRetriever::ClientCredentials && self.oauth_grant_type == GrantType::JwtBearer {
            return disagree(RETRIEVER, self.token_retriever.name(), "sasl.oauthbearer.grant.type is jwt-bearer");
        }
        match (self.oauth_method, &self.token_url) {
            (OauthMethod::Oidc, None | Some(TokenUrl::File(_))) => return disagree(METHOD, "oidc", place),
            (OauthMethod::Default, Some(TokenUrl::Endpoint(_))) if self.is_made(METHOD) => {
                return disagree(METHOD, "default", place);
            }
            _ => {}
        }
        let has_client = self.given().contains(&CLIENT_SECRET) || login.client_id.is_some();
        if has_client && self.token_url.is_none() && !self.unsecure_jwt {
            let what =
                if login.client_id.is_some() { "clientId in sasl.jaas.config" } else { self.written(CLIENT_SECRET) };
            return Err(refused(format!("{what} is set without {URL}: set the URL of the token endpoint")));
        }
        Ok(())
    }

    /// Returns the settings of the token endpoint. As in Java, a setting counts more than an option of the JAAS entry.
    pub(super) fn oidc(
        &mut self,
        endpoint: EndpointUrl,
        login: OauthLogin,
        extensions: Vec<(String, String)>,
    ) -> Result<OidcSettings, Error> {
        let given = self.given();
        let from_jaas = |key: &str| !given.contains(&key);
        let mut taken = Vec::new();
        if let Some(id) = login.client_id.filter(|_| from_jaas(CLIENT_ID)) {
            self.oauth_client_id = id;
            taken.push(CLIENT_ID);
        }
        if let Some(secret) = login.client_secret.filter(|_| from_jaas(CLIENT_SECRET)) {
            self.oauth_client_secret = secret;
            taken.push(CLIENT_SECRET);
        }
        if let Some(scope) = login.scope.filter(|_| from_jaas(SCOPE)) {
            self.oauth_scope = scope;
            taken.push(SCOPE);
        }
        for key in taken {
            self.made.insert(key, Made { key, origin: Origin::Jaas });
        }
        let is_bearer =
            self.oauth_grant_type == GrantType::JwtBearer || self.token_retriever == TokenRetriever::JwtBearer;
        let assertion = self.assertion()?;
        let proof = match &assertion {
            Some(_) if is_bearer => ClientProof::Bearer,
            Some(_) => ClientProof::Assertion,
            None if is_bearer => {
                let text = "the grant jwt-bearer needs a signed JWT: set sasl.oauthbearer.assertion.private.key.file to \
                            the key that signs it, or sasl.oauthbearer.assertion.file to a file with one";
                return Err(refused(text.to_owned()));
            }
            None => {
                let secret = self.oauth_client_secret.clone();
                ClientProof::Secret { secret, encodes_header: self.oauth_header_urlencode }
            }
        };
        for (key, option, value) in [
            (CLIENT_ID, "clientId", self.oauth_client_id.as_bytes()),
            (CLIENT_SECRET, "clientSecret", self.oauth_client_secret.expose()),
        ] {
            if value.is_empty() && assertion.is_none() {
                return Err(refused(format!(
                    "{} is missing: the token endpoint needs the client's id and secret (in {JAAS}: {option})",
                    self.written(key)
                )));
            }
            check_text(self.written(key), value)?;
        }
        if assertion.is_some() {
            self.note_unused(&[CLIENT_SECRET, "sasl.oauthbearer.header."], "the client has an assertion");
        }
        let is_elsewhere = |address: IpAddr| !address.to_canonical().is_loopback();
        if !endpoint.is_encrypted && !self.sasl_allow_cleartext && endpoint.server.host.parse().is_ok_and(is_elsewhere)
        {
            return Err(endpoint_in_the_clear(&endpoint));
        }
        let trust =
            self.pem(("https.ca.location", self.https_ca_location.as_ref()), ("https.ca.pem", &self.https_ca_pem))?;
        Ok(OidcSettings {
            endpoint,
            client: TokenClient {
                client_id: self.oauth_client_id.clone(),
                proof,
                scope: Some(self.oauth_scope.clone()).filter(|scope| !scope.is_empty()),
            },
            assertion,
            extensions,
            tls: TlsSettings {
                trust: trust
                    .map_or(Trust::Roots(self.tls_roots), |(_, certificates)| Trust::Certificates(certificates)),
                identity: None,
                versions: TlsVersions::BOTH,
                cipher_suites: Vec::new(),
                server_name: None,
                provider: self.tls_provider,
                reload: None,
            },
        })
    }

    /// Returns the source of the client's assertions. As in Java, a file with one counts more than a key.
    fn assertion(&mut self) -> Result<Option<AssertionSource>, Error> {
        const OF_KEY: [&str; 4] = ["algorithm", "claim.", "private.key.", "template.file"];
        let beginnings = OF_KEY.map(|name| format!("sasl.oauthbearer.assertion.{name}"));
        let beginnings = beginnings.each_ref().map(String::as_str);
        if let Some(path) = &self.oauth_assertion_file {
            let source = AssertionSource::File(path.clone());
            self.note_unused(&beginnings, "sasl.oauthbearer.assertion.file has the assertion");
            return Ok(Some(source));
        }
        let key = self.pem(
            ("sasl.oauthbearer.assertion.private.key.file", self.oauth_assertion_key_file.as_ref()),
            ("sasl.oauthbearer.assertion.private.key.pem", &self.oauth_assertion_key),
        )?;
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let Some((_, key)) = key else {
            if !self.oauth_assertion_issuer.is_empty() {
                let text = "sasl.oauthbearer.assertion.claim.iss is set without sasl.oauthbearer.assertion.private.key.file: \
                            set the key that signs the assertions, or remove the claim";
                return Err(refused(text.to_owned()));
            }
            self.note_unused(&beginnings, "there is no private key for assertions");
            return Ok(None);
        };
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Ok(Some(AssertionSource::Key(Box::new(AssertionSettings {
            assertion: Assertion {
                algorithm: self.oauth_assertion_algorithm,
                audience: text(&self.oauth_assertion_audience),
                issuer: text(&self.oauth_assertion_issuer),
                subject: text(&self.oauth_assertion_subject),
                lifetime: seconds(self.oauth_assertion_exp_seconds),
                tolerance: seconds(self.oauth_assertion_nbf_seconds),
                has_id: self.oauth_assertion_has_id,
            },
            key,
            passphrase: Some(self.oauth_assertion_passphrase.clone()).filter(|passphrase| !passphrase.is_empty()),
            template: self.oauth_assertion_template.clone(),
        }))))
    }
}
