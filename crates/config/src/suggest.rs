//! "Did you mean?"

/// Candidates that are looked at: 10,000 routes may each misspell one of 10,000 pools.
const CANDIDATES_MAX: usize = 1000;

/// The candidate that `word` is a slip of, if there is one: fewer than half of its letters
/// (and three at most) added, left out, changed or swapped.
pub(crate) fn similar<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    // The distance takes the product of both lengths; nobody misspells a key this long.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            (strsim::damerau_levenshtein(&word, &lower), candidate)
        })
        .filter(|&(distance, candidate)| distance <= 3 && distance * 2 < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Help for a word that is none of `candidates`: the one that was meant, else all of them.
pub(crate) fn help<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(meant) = similar(word, candidates.clone()) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let all: Vec<String> = candidates
        .into_iter()
        .take(20)
        .map(|candidate| format!("`{candidate}`"))
        .collect();
    match all.as_slice() {
        [] => None,
        [only] => Some(format!("there is only {only}")),
        _ => Some(format!("there are {}", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let keys = ["endpoints", "check", "retry", "bind", "ShopAPI"];
        for (word, meant) in [
            ("endpoint", Some("endpoints")),
            ("endpoitns", Some("endpoints")),
            ("Check", Some("check")),
            ("retires", None),
            ("bnd", Some("bind")),
            ("shopapi", Some("ShopAPI")),
            ("listen", None),
            ("", None),
        ] {
            assert_eq!(similar(word, keys), meant, "{word}");
        }
    }
}
