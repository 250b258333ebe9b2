//! Keys and values that are decided but not in this version, so that whoever tries them is told
//! so instead of looking for a misspelling.

/// What to say about a key (`listeners.*.pool`), or a value of a key
/// (`listeners.*.protocol = tcp`), that comes later. `*` stands for any name; elements of a list are their list.
pub(crate) fn note(path: &str) -> Option<&'static str> {
    LATER
        .iter()
        .find(|(later, _)| *later == path)
        .map(|(_, note)| *note)
}

const LATER: &[(&str, &str)] = &[
    (
        "listeners.*.pool",
        "it belongs to TCP listeners; a route leads to a pool",
    ),
    ("listeners.*.protocol = tcp", "there is `http` only"),
    ("listeners.*.protocol = udp", "there is `http` only"),
];
