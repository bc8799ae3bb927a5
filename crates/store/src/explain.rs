//! Reads for explanations: what the gate would say of a list before it is called ([`forecast`]), what it would say of a number now
//! ([`number`]), and why the contacts of a task wait ([`standing`]). Nothing is changed, and no decision is stored.

mod forecast;
mod number;
mod standing;

pub use forecast::ForecastPage;
pub use number::NumberJudgement;
pub use standing::{LaterBy, TaskStanding, WaitingBucket};
