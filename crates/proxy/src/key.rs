//! What of a request its policy or its session goes by.

use balance::HashKey;
use message::{Field, RequestHead, cookies};

use crate::client_address::ClientAddress;

/// The bytes that `key` names, as the client sent them. `None` if the request has none, or has
/// them empty: nothing is what many clients share.
pub(crate) fn of<'a>(
    key: &HashKey,
    request: &'a RequestHead,
    client: &'a ClientAddress,
) -> Option<&'a [u8]> {
    let found = match key {
        HashKey::ClientIp => client.has_ip().then(|| client.ip()),
        HashKey::ClientAddress => client.has_ip().then(|| client.as_str().as_bytes()),
        HashKey::Header(name) => fields(&request.fields, &request.bytes, name)
            .next()
            .map(|field| request.text(field.value)),
        HashKey::Cookie(name) => cookie_values(request, name).next(),
        HashKey::Query(name) => query(request.text(request.path_and_query), name.as_bytes()),
        HashKey::Path => Some(match request.text(request.path) {
            // The target was `http://host`.
            b"" => b"/",
            path => path,
        }),
    };
    found.filter(|bytes| !bytes.is_empty())
}

/// The values of all cookies of this name.
pub(crate) fn cookie_values<'a>(
    request: &'a RequestHead,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    fields(&request.fields, &request.bytes, "cookie")
        .flat_map(|field| cookies(request.text(field.value)))
        .filter(move |(found, _)| *found == name.as_bytes())
        .map(|(_, value)| value)
}

/// The fields of this name, whatever its case.
pub(crate) fn fields<'a>(
    fields: &'a [Field],
    head: &[u8],
    name: &str,
) -> impl Iterator<Item = &'a Field> {
    fields
        .iter()
        .filter(move |field| is_named(field, head, name))
}

/// True if it is a field of this name, whatever its case.
pub(crate) fn is_named(field: &Field, head: &[u8], name: &str) -> bool {
    field.name.of(head).eq_ignore_ascii_case(name.as_bytes())
}

fn query<'a>(path_and_query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mark = path_and_query.iter().position(|byte| *byte == b'?')?;
    path_and_query[mark + 1..]
        .split(|byte| *byte == b'&')
        .find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use wire::h1::{Limits, RequestReader};

    use super::*;

    const LIMITS: Limits = Limits {
        head_bytes: 4096,
        fields: 20,
        line_bytes: 1024,
    };

    fn request(target: &str, fields: &str) -> RequestHead {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        let read = RequestReader::default().receive(text.as_bytes(), &LIMITS, &mut head);
        assert_eq!(read, Ok(Some(text.len())));
        head
    }

    #[test]
    fn each_kind_of_key_is_found() {
        let client = ClientAddress::new(Some("192.0.2.7:4711".parse().unwrap()));
        let head = request(
            "/a/b?x=1&user=ann&user=bob",
            "X-User: carl\r\nx-user: dora\r\nCookie: a=1; id=7\r\ncookie: id=8\r\n",
        );
        for (key, found) in [
            (HashKey::ClientIp, "192.0.2.7"),
            (HashKey::Header("x-user".into()), "carl"),
            (HashKey::Header("host".into()), "a"),
            (HashKey::Cookie("id".into()), "7"),
            (HashKey::Query("user".into()), "ann"),
            (HashKey::Path, "/a/b"),
        ] {
            let bytes = of(&key, &head, &client).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(bytes), found, "{key:?}");
        }
    }

    #[test]
    fn what_is_missing_or_empty_is_no_key() {
        let client = ClientAddress::new(None);
        let head = request("/?user=&u=1&users=2", "X-User:\r\nCookie: id=; ID=1\r\n");
        for key in [
            HashKey::ClientIp,
            HashKey::Header("x-user".into()),
            HashKey::Header("x-other".into()),
            HashKey::Cookie("id".into()),
            HashKey::Cookie("other".into()),
            HashKey::Query("user".into()),
            HashKey::Query("other".into()),
        ] {
            assert_eq!(of(&key, &head, &client), None, "{key:?}");
        }
    }

    #[test]
    fn a_target_without_a_path_asks_for_the_root() {
        let client = ClientAddress::new(None);
        for target in ["http://a", "http://a?x=1", "/", "/?x=1"] {
            let head = request(target, "");
            assert_eq!(
                of(&HashKey::Path, &head, &client),
                Some(&b"/"[..]),
                "{target}"
            );
        }
    }
}
