//! Headers that every answer has, refusals too.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Scripts, styles, images and requests of the server itself and nothing else: what a text from a model or a file
/// says is never run, even if the page were to put it in the wrong place.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const ALL: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // The page belongs to the program that is running, which may be another one tomorrow.
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds them.
pub fn secure(headers: &mut HeaderMap) {
    for (name, value) in ALL {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
