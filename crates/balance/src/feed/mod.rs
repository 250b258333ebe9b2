//! What endpoints and their agents say of themselves, from bytes to values.

mod agent;
mod orca;

pub use agent::{AgentWeight, AgentWords, parse_agent_words, parse_load_body};
pub use orca::{load_report, parse_load_metrics};
