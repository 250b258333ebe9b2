//! What a config file may say about sockets.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::DurationText;
use crate::spanned::At;

/// How the sockets of a listener are made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListenerSocket {
    /// Name of the network interface that is listened on alone. Default: all.
    pub interface: Option<At<String>>,
    /// Connections that the kernel holds until they are accepted. Default: the kernel's bound.
    pub backlog: Option<At<NonZeroU32>>,
    /// `true`: `[::]` takes IPv4 clients too. Default: false.
    pub dual_stack: Option<At<bool>>,
    /// TCP Fast Open: connections that wait for the end of their handshake. Default: off.
    pub fast_open: Option<At<NonZeroU32>>,
    /// `true` (the default): small writes leave at once.
    pub nodelay: Option<At<bool>>,
    /// How long a peer may be silent before it is probed, 1s to 8h, or `"off"` (the default).
    pub keep_alive: Option<At<DurationText>>,
    /// How long sent data may stay unacknowledged, 1s to 1d, or `"off"` (the default): the kernel
    /// decides.
    pub user_timeout: Option<At<DurationText>>,
}

/// How connections to endpoints are made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPoolSocket {
    /// The IP address that connections come from. Default: the kernel chooses.
    pub source: Option<At<String>>,
    /// Name of the network interface that connections leave by. Default: the kernel chooses.
    pub interface: Option<At<String>>,
    /// `true`: the first bytes leave with the first packet where the endpoint allows (TCP Fast
    /// Open). Default: false.
    pub fast_open: Option<At<bool>>,
    /// `true` (the default): small writes leave at once.
    pub nodelay: Option<At<bool>>,
    /// How long a peer may be silent before it is probed, 1s to 8h, or `"off"` (the default).
    pub keep_alive: Option<At<DurationText>>,
    /// How long sent data may stay unacknowledged, 1s to 1d, or `"off"` (the default): the kernel
    /// decides.
    pub user_timeout: Option<At<DurationText>>,
}
