//! Requests and responses as values: what every protocol is translated to and from.
//!
//! A head is one byte string and a list of offsets into it. Nothing is copied per field and
//! there is no map: a proxy reads a handful of fields and forwards the rest as they are.
//!
//! Absent on purpose: sockets, clocks, and any opinion about how bytes arrive (see `wire`).

mod cookie;
mod field;
mod head;
mod method;
mod status;

pub use cookie::{cookies, set_cookie, write_cookies_without};
pub use field::{Field, FieldName, is_same_name};
pub use head::{BodyLength, RequestHead, ResponseHead, Span, TargetForm, Version};
pub use method::Method;
pub use status::Status;
