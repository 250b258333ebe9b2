//! Which connections are passed on as they are: by the name and the protocol that a client asks
//! for as it begins TLS.

use crate::{Duplicate, HostMatch};

/// The names of one listener whose TLS is not ours to end.
///
/// The most specific name decides, as among routes: exact, then the longest wildcard, then any.
/// Among the rules of one name, one for a protocol that the client offers goes before one for
/// whatever it speaks; a name without a rule for the client's protocols leaves it to the next less
/// specific name.
#[derive(Debug, Clone, Default)]
pub struct Names {}

impl Names {
    /// Adds a rule for clients that ask for `name`, and offer `protocol` by ALPN, such as `h2`;
    /// `None`: whatever they offer.
    pub fn insert(
        &mut self,
        _name: &HostMatch,
        _protocol: Option<&[u8]>,
        _value: usize,
    ) -> Result<(), Duplicate> {
        unimplemented!("a skeleton")
    }

    /// True if there is no rule.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// The value of the most specific rule. `name` is the SNI in any case, empty if there was none;
    /// `offers` says whether the client offers a protocol. Does not allocate.
    pub fn find(&self, _name: &[u8], _offers: impl Fn(&[u8]) -> bool) -> Option<usize> {
        None
    }
}
