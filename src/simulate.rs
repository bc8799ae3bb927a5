//! `paceline simulate`: a call centre's days in virtual time, paced by us and by others. The model is
//! `paceline_sim::pacing`; here are the scenario file and the reports.

pub mod report;
pub mod scenario;

#[cfg(test)]
mod tests;
