//! Who may ask: whoever has the token, on a page of this server, under the name that it is bound to.
//!
//! The token keeps out other users of the machine. Host, Origin and Sec-Fetch-Site keep out other pages in the browser
//! of a user who has the token: a page whose name is made to resolve to this machine, a form that posts here, an image
//! whose address is a request.

use crate::error::{Error, Result};
use crate::serve::Problem;
use axum::http::{HeaderMap, Method, Uri, header};
use std::net::{IpAddr, SocketAddr};

/// Letters that a token has at least.
const SHORTEST: usize = 16;

/// What a request has to show.
#[derive(Clone, Debug)]
pub struct Access {
    token: String,
    port: u16,
    /// Names under which the server may be asked, without the port.
    hosts: Vec<String>,
    /// Bound to every address of the machine: any address will do, but no name, which somebody else could own.
    any_address: bool,
}

impl Access {
    /// A server with this token, bound to `bound` because `host` was asked for.
    ///
    /// # Errors
    /// A token that is short, or has characters which do not stand in an address as they are.
    pub fn new(token: &str, host: &str, bound: SocketAddr) -> Result<Access> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if token.len() < SHORTEST || !token.chars().all(plain) {
            let hint =
                "leave --token out, and a random one is drawn; or give 16 or more of a-z, A-Z, 0-9, `-`, `_`, `.`";
            return Err(Error::refused(
                "the token is too short, or has characters that cannot stand in an address",
                hint,
            ));
        }
        let mut hosts: Vec<String> = ["127.0.0.1", "localhost", "[::1]"].map(String::from).to_vec();
        hosts.push(spelled(host));
        hosts.push(spelled(&bound.ip().to_string()));
        let any_address = bound.ip().is_unspecified();
        Ok(Access { token: token.into(), port: bound.port(), hosts, any_address })
    }

    /// Where a browser finds the page.
    pub fn address(&self, host: &str) -> String {
        let host = if self.any_address { "127.0.0.1".into() } else { spelled(host) };
        format!("http://{host}:{}/?token={}", self.port, self.token)
    }

    /// Lets a request through, or says why not.
    ///
    /// # Errors
    /// 403 for a request that another page or another name leads here, 401 for one without the token.
    pub fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = self.host(uri, headers)?;
        own_origin(host, headers)?;
        own_page(method, uri, headers)?;
        if self.has_token(uri, headers) {
            return Ok(());
        }
        let hint = "open the address that `personascope serve` printed, with its ?token=...; programs send \
                    `Authorization: Bearer TOKEN`";
        Err(Problem { status: 401, what: "no token, or not the one of this server".into(), hint: hint.into() })
    }

    /// The cookie that goes with the page when the token was in its address, so that the page can leave it out.
    pub fn cookie(&self, uri: &Uri) -> Option<String> {
        let given = query_tokens(uri).any(|t| same(t, &self.token));
        given.then(|| format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name(), self.token))
    }

    /// Cookies do not tell ports apart, but their names can.
    fn cookie_name(&self) -> String {
        format!("personascope-{}", self.port)
    }

    fn host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
        let mut all = headers.get_all(header::HOST).iter();
        let host = match (all.next(), all.next()) {
            (Some(host), None) => host.to_str().ok().filter(|h| self.is_own(h)),
            _ => None,
        };
        let authority = uri.authority().is_none_or(|a| self.is_own(a.as_str()));
        host.filter(|_| authority).ok_or_else(|| {
            let what = "this server is not asked under its own name (the Host header)";
            forbidden(what, &format!("ask it as {}:{}, where it listens", self.hosts[0], self.port))
        })
    }

    fn is_own(&self, authority: &str) -> bool {
        // A browser leaves port 80 out.
        let name = authority.strip_suffix(&format!(":{}", self.port)).or((self.port == 80).then_some(authority));
        let Some(name) = name else { return false };
        let name = name.to_ascii_lowercase();
        let is_address = || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        self.hosts.contains(&name) || (self.any_address && is_address())
    }

    fn has_token(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        let cookies = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let cookies = cookies.filter(|(n, _)| *n == name).map(|(_, value)| value);
        let mut given = bearer.into_iter().chain(cookies).chain(query_tokens(uri));
        given.any(|token| same(token, &self.token))
    }
}

/// As it stands in an address: small letters, brackets around an IPv6 address.
fn spelled(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host }
}

fn query_tokens(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("token="))
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| std::hint::black_box(d | (x ^ y)));
    a.len() == b.len() && differ == 0
}

fn forbidden(what: &str, hint: &str) -> Problem {
    Problem { status: 403, what: what.into(), hint: hint.into() }
}

fn own_origin(host: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let own = |v: &axum::http::HeaderValue| {
        let origin = v.to_str().ok().and_then(|o| o.strip_prefix("http://"));
        origin.is_some_and(|o| o.eq_ignore_ascii_case(host))
    };
    if headers.get_all(header::ORIGIN).iter().all(own) {
        return Ok(());
    }
    Err(forbidden("another page asks this server (the Origin header)", "use the page of the server itself"))
}

/// What the browser says of the page that asks. `same-site` is another port of this machine: another page.
fn own_page(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let said = |name: &str| headers.get(name).map(|v| v.as_bytes());
    let opened = method == Method::GET
        && uri.path() == "/"
        && said("sec-fetch-mode") == Some(b"navigate")
        && said("sec-fetch-dest") == Some(b"document");
    match said("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if opened => Ok(()),
        Some(_) => {
            Err(forbidden("another page asks this server (Sec-Fetch-Site)", "use the page of the server itself"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn access(host: &str, bound: &str) -> Access {
        Access::new(TOKEN, host, bound.parse().unwrap()).unwrap()
    }

    fn status(access: &Access, method: Method, uri: &str, headers: &[(&'static str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        access.admit(&method, &uri.parse().unwrap(), &map).map_or_else(|p| p.status, |()| 200)
    }

    /// With the token, from a host.
    fn from(access: &Access, host: &str, more: &[(&'static str, &str)]) -> u16 {
        let bearer = format!("Bearer {TOKEN}");
        let mut headers = vec![("host", host), ("authorization", bearer.as_str())];
        headers.extend(more);
        status(access, Method::GET, "/api/about", &headers)
    }

    #[test]
    fn only_its_own_names_with_its_own_port_lead_to_the_server() {
        let local = access("127.0.0.1", "127.0.0.1:7340");
        for host in ["127.0.0.1:7340", "localhost:7340", "LOCALHOST:7340", "[::1]:7340"] {
            assert_eq!(from(&local, host, &[]), 200, "{host}");
        }
        for host in ["evil.example:7340", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:73400", "localhost.evil:7340", ""] {
            assert_eq!(from(&local, host, &[]), 403, "{host}");
        }
        assert_eq!(from(&local, "192.168.0.7:7340", &[]), 403);
        // Two hosts, none, and one in the address itself.
        assert_eq!(from(&local, "127.0.0.1:7340", &[("host", "127.0.0.1:7340")]), 403);
        assert_eq!(status(&local, Method::GET, &format!("/?token={TOKEN}"), &[]), 403);
        let elsewhere = format!("http://evil.example/?token={TOKEN}");
        assert_eq!(status(&local, Method::GET, &elsewhere, &[("host", "127.0.0.1:7340")]), 403);
    }

    #[test]
    fn a_server_of_all_addresses_takes_addresses_and_no_foreign_name() {
        let open = access("0.0.0.0", "0.0.0.0:7340");
        assert_eq!(from(&open, "192.168.0.7:7340", &[]), 200);
        assert_eq!(from(&open, "[fe80::1]:7340", &[]), 200);
        assert_eq!(from(&open, "evil.example:7340", &[]), 403);
        assert_eq!(open.address("0.0.0.0"), format!("http://127.0.0.1:7340/?token={TOKEN}"));
        let named = access("box.example", "192.168.0.7:80");
        assert_eq!((from(&named, "Box.example", &[]), from(&named, "box.example:80", &[])), (200, 200));
        assert_eq!(access("::1", "[::1]:9").address("::1"), format!("http://[::1]:9/?token={TOKEN}"));
    }

    #[test]
    fn the_token_comes_in_the_address_a_cookie_or_a_header() {
        let local = access("127.0.0.1", "127.0.0.1:7340");
        let host = ("host", "127.0.0.1:7340");
        let with = |uri: &str, headers: &[(&'static str, &str)]| {
            status(&local, Method::GET, uri, &[&[host], headers].concat())
        };
        assert_eq!(with(&format!("/?a=b&token={TOKEN}"), &[]), 200);
        assert_eq!(with("/", &[("cookie", &format!("a=b; personascope-7340={TOKEN}"))]), 200);
        assert_eq!(with("/", &[("authorization", &format!("Bearer {TOKEN}"))]), 200);

        assert_eq!(with("/", &[]), 401);
        assert_eq!(with("/?token=", &[]), 401);
        assert_eq!(with(&format!("/?token={}", &TOKEN[1..]), &[]), 401);
        assert_eq!(with(&format!("/?token={TOKEN}0"), &[]), 401);
        assert_eq!(with(&format!("/?xtoken={TOKEN}"), &[]), 401);
        assert_eq!(with("/", &[("cookie", &format!("personascope-7341={TOKEN}"))]), 401);
        assert_eq!(with("/", &[("authorization", TOKEN)]), 401);
        assert_eq!(with("/", &[("authorization", &format!("Bearer {}", TOKEN.replace('f', "e")))]), 401);
    }

    #[test]
    fn a_cookie_is_given_for_the_token_alone() {
        let local = access("127.0.0.1", "127.0.0.1:7340");
        let cookie = |uri: &str| local.cookie(&uri.parse().unwrap());
        let set = format!("personascope-7340={TOKEN}; HttpOnly; SameSite=Strict; Path=/");
        assert_eq!(cookie(&format!("/?token={TOKEN}")), Some(set));
        assert_eq!((cookie("/"), cookie("/?token=x")), (None, None));
    }

    #[test]
    fn other_pages_are_refused_even_with_the_token() {
        let local = access("127.0.0.1", "127.0.0.1:7340");
        let from = |more: &[(&'static str, &str)]| from(&local, "127.0.0.1:7340", more);
        assert_eq!(from(&[("origin", "http://127.0.0.1:7340")]), 200);
        for origin in ["null", "http://evil.example", "https://127.0.0.1:7340", "http://127.0.0.1:7341"] {
            assert_eq!(from(&[("origin", origin)]), 403, "{origin}");
        }
        // Another of its own names is another origin.
        assert_eq!(from(&[("origin", "http://localhost:7340")]), 403);
        assert_eq!(from(&[("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(from(&[("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(from(&[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")]), 403);
    }

    #[test]
    fn a_link_elsewhere_opens_the_page_and_nothing_else() {
        let local = access("127.0.0.1", "127.0.0.1:7340");
        let link = [
            ("host", "127.0.0.1:7340"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(status(&local, Method::GET, &format!("/?token={TOKEN}"), &link), 200);
        assert_eq!(status(&local, Method::POST, &format!("/?token={TOKEN}"), &link), 403);
        assert_eq!(status(&local, Method::GET, &format!("/api/about?token={TOKEN}"), &link), 403);
        let framed: Vec<_> = link.iter().map(|(n, v)| (*n, if *v == "document" { "iframe" } else { v })).collect();
        assert_eq!(status(&local, Method::GET, &format!("/?token={TOKEN}"), &framed), 403);
    }

    #[test]
    fn a_token_that_can_be_guessed_or_misread_is_refused() {
        let bound = "127.0.0.1:7340".parse().unwrap();
        for token in ["", "short", "0123456789abcde", "0123456789abcdef&x=y", "0123456789 abcdef"] {
            assert!(Access::new(token, "127.0.0.1", bound).is_err(), "{token}");
        }
        assert!(same("ab", "ab") && !same("ab", "ac") && !same("ab", "abc") && !same("", "a"));
    }
}
