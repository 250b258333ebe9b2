//! Cookies: taking one out leaves all others as they are.
//!
//! An input is text: the name of the cookie, a line end, the value of the field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use message::{cookies, set_cookie, write_cookies_without};

fuzz_target!(|text: &str| {
    let Some((name, field)) = text.split_once('\n') else {
        return;
    };
    let (name, field) = (name.as_bytes(), field.as_bytes());
    let mut out = b"before".to_vec();
    let is_left = write_cookies_without(field, name, &mut out);
    let left = out.strip_prefix(b"before").expect("what is there stays");
    assert_eq!(is_left, !left.is_empty());
    // What is empty between two semicolons is no cookie.
    let is_cookie = |(name, value): &(&[u8], &[u8])| !name.is_empty() || !value.is_empty();
    let all = cookies(field).filter(|(found, _)| *found != name);
    let kept = cookies(left).filter(is_cookie);
    assert!(all.filter(is_cookie).eq(kept), "another cookie has changed");
    if !name.is_empty() {
        assert!(
            cookies(left).all(|(found, _)| found != name),
            "it is still there"
        );
    }
    assert!(
        left.len() <= field.len() + cookies(field).count(),
        "spaces are added, and no more"
    );
    let first = cookies(field).next().unwrap_or_default();
    assert_eq!(set_cookie(field), first, "a cookie is read in one way");
});
