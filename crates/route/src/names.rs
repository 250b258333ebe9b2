//! Which connections are passed on as they are: by the name and the protocol that a client asks
//! for as it begins TLS.

use crate::hosts::Hosts;
use crate::{Duplicate, HostMatch};

/// The names of one listener whose TLS is not ours to end.
///
/// The most specific name decides, as among routes: exact, then the longest wildcard, then any.
/// Among the rules of one name, one for a protocol that the client offers goes before one for
/// whatever it speaks; of several such, the one that was added first. A name without a rule for
/// the client's protocols leaves it to the next less specific name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    rules: Hosts<Rules>,
    is_filled: bool,
}

/// The rules of one name.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// By protocol, in the order of the config.
    by_protocol: Vec<(Box<[u8]>, usize)>,
    /// For whatever is spoken.
    general: Option<usize>,
}

impl Names {
    /// Adds a rule for clients that ask for `name`, and offer `protocol` by ALPN, such as `h2`;
    /// `None`: whatever they offer. A name of more than 254 bytes never matches.
    ///
    /// # Errors
    /// There is a rule for this name and protocol.
    pub fn insert(
        &mut self,
        name: &HostMatch,
        protocol: Option<&[u8]>,
        value: usize,
    ) -> Result<(), Duplicate> {
        let rules = self.rules.entry(name);
        if let Some(existing) = rules.existing(protocol) {
            return Err(Duplicate { existing });
        }
        match protocol {
            Some(protocol) => rules.by_protocol.push((protocol.into(), value)),
            None => rules.general = Some(value),
        }
        self.is_filled = true;
        Ok(())
    }

    /// True if there is no rule.
    pub fn is_empty(&self) -> bool {
        !self.is_filled
    }

    /// The value of the most specific rule. `name` is the SNI in any case, empty if there was none;
    /// `offers` says whether the client offers a protocol. Does not allocate.
    pub fn find(&self, name: &[u8], offers: impl Fn(&[u8]) -> bool) -> Option<usize> {
        self.rules.find(name, |rules| {
            let mut offered = rules.by_protocol.iter().filter(|rule| offers(&rule.0));
            offered.next().map(|rule| rule.1).or(rules.general)
        })
    }
}

impl Rules {
    fn existing(&self, protocol: Option<&[u8]>) -> Option<usize> {
        let Some(protocol) = protocol else {
            return self.general;
        };
        let mut rules = self.by_protocol.iter();
        rules
            .find(|rule| *rule.0 == *protocol)
            .map(|&(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Rule = (HostMatch, Option<Vec<u8>>);

    fn rule(name: &str, protocol: Option<&str>) -> Rule {
        let name = match name.strip_prefix("*.") {
            Some(parent) => HostMatch::Below(parent.into()),
            None if name == "*" => HostMatch::Any,
            None => HostMatch::Exact(name.into()),
        };
        (name, protocol.map(Into::into))
    }

    fn names(rules: &[(&str, Option<&str>)]) -> Names {
        let mut names = Names::default();
        for (index, (name, protocol)) in rules.iter().enumerate() {
            let (name, protocol) = rule(name, *protocol);
            names.insert(&name, protocol.as_deref(), index).unwrap();
        }
        names
    }

    /// What is found for a client that offers `protocols`.
    fn find(names: &Names, name: &str, protocols: &[&str]) -> Option<usize> {
        names.find(name.as_bytes(), |protocol| {
            protocols
                .iter()
                .any(|offered| offered.as_bytes() == protocol)
        })
    }

    #[test]
    fn without_rules_nothing_is_found() {
        let names = Names::default();
        assert!(names.is_empty());
        assert_eq!(find(&names, "a.example", &["h2"]), None);
    }

    #[test]
    fn the_most_specific_name_wins() {
        let names = names(&[
            ("db.example", None),
            ("*.example", None),
            ("*.db.example", None),
        ]);
        assert!(!names.is_empty());
        for (name, value) in [
            ("db.example", Some(0)),
            ("DB.Example.", Some(0)),
            ("a.example", Some(1)),
            ("a.db.example", Some(2)),
            ("example", None),
            ("", None),
        ] {
            assert_eq!(find(&names, name, &[]), value, "{name}");
        }
    }

    #[test]
    fn a_client_without_a_name_takes_the_rule_for_any() {
        let names = names(&[("*", None), ("db.example", None)]);
        assert_eq!(find(&names, "", &[]), Some(0));
        assert_eq!(find(&names, "other", &[]), Some(0));
    }

    #[test]
    fn a_rule_for_an_offered_protocol_goes_before_the_general_one() {
        let names = names(&[
            ("a.example", None),
            ("a.example", Some("h2")),
            ("a.example", Some("http/1.1")),
        ]);
        for (protocols, value) in [
            (&[][..], 0),
            (&["h3"], 0),
            (&["http/1.1"], 2),
            (&["http/1.1", "h2"], 1),
        ] {
            assert_eq!(find(&names, "a.example", protocols), Some(value));
        }
    }

    #[test]
    fn a_name_without_a_rule_for_the_protocols_leaves_it_to_a_less_specific_one() {
        let names = names(&[
            ("a.example", Some("h2")),
            ("*.example", Some("acme-tls/1")),
            ("*", Some("imap")),
        ]);
        assert_eq!(find(&names, "a.example", &["acme-tls/1"]), Some(1));
        assert_eq!(find(&names, "a.example", &["imap"]), Some(2));
        assert_eq!(find(&names, "a.example", &["http/1.1"]), None);
    }

    #[test]
    fn a_second_rule_for_the_same_name_and_protocol_is_refused() {
        let mut names = names(&[("a.example", None), ("a.example", Some("h2"))]);
        let (name, _) = rule("A.Example.", None);
        let again = names.insert(&name, None, 2);
        assert_eq!(again, Err(Duplicate { existing: 0 }));
        let again = names.insert(&name, Some(b"h2"), 2);
        assert_eq!(again, Err(Duplicate { existing: 1 }));
        assert_eq!(names.insert(&name, Some(b"h3"), 2), Ok(()));
        assert_eq!(find(&names, "a.example", &["h2"]), Some(1));
    }

    /// What `Names` promises, as a search through all rules.
    fn naive(rules: &[Rule], name: &str, offered: &[Vec<u8>]) -> Option<usize> {
        let name = name.to_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let by_name = |rule: &HostMatch| match rule {
            HostMatch::Any => Some(0),
            HostMatch::Exact(exact) => (name == &**exact).then_some(usize::MAX),
            HostMatch::Below(parent) => {
                let label = name.strip_suffix(&**parent)?.strip_suffix('.')?;
                (!label.is_empty()).then_some(1 + parent.len())
            }
        };
        let by_protocol = |rule: &Option<Vec<u8>>| match rule {
            None => Some(0),
            Some(protocol) => offered.contains(protocol).then_some(1),
        };
        let matching = rules.iter().enumerate().filter_map(|(index, rule)| {
            let rank = (by_name(&rule.0)?, by_protocol(&rule.1)?);
            // The first of equals.
            Some((rank, std::cmp::Reverse(index)))
        });
        matching.max().map(|(_, index)| index.0)
    }

    fn any_name() -> impl Strategy<Value = String> {
        proptest::collection::vec("[ab]", 1..4).prop_map(|labels| labels.join("."))
    }

    fn any_protocol() -> impl Strategy<Value = Vec<u8>> {
        "[xyz]".prop_map(String::into_bytes)
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let name = prop_oneof![
            Just(HostMatch::Any),
            any_name().prop_map(|name| HostMatch::Exact(name.into())),
            any_name().prop_map(|name| HostMatch::Below(name.into())),
        ];
        (name, proptest::option::of(any_protocol()))
    }

    proptest! {
        #[test]
        fn names_find_what_a_search_through_all_rules_finds(
            rules in proptest::collection::vec(any_rule(), 0..24),
            clients in proptest::collection::vec(
                (any_name(), "\\.?", proptest::collection::vec(any_protocol(), 0..3)),
                1..16,
            ),
        ) {
            let mut names = Names::default();
            let mut kept: Vec<Rule> = Vec::new();
            for rule in rules {
                let inserted = names.insert(&rule.0, rule.1.as_deref(), kept.len());
                let existing = kept.iter().position(|kept| *kept == rule);
                prop_assert_eq!(inserted.err().map(|duplicate| duplicate.existing), existing);
                if existing.is_none() {
                    kept.push(rule);
                }
            }
            prop_assert_eq!(names.is_empty(), kept.is_empty());
            for (name, dot, offered) in clients {
                let name = name.to_uppercase() + &dot;
                let found = names.find(name.as_bytes(), |protocol| {
                    offered.iter().any(|offered| offered == protocol)
                });
                prop_assert_eq!(found, naive(&kept, &name, &offered), "{} {:?}", name, offered);
            }
        }

        #[test]
        fn any_bytes_are_looked_up_without_a_panic(name: Vec<u8>) {
            let names = names(&[("*.a", None), ("a", Some("h2"))]);
            names.find(&name, |_| true);
        }
    }
}
