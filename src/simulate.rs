//! `paceline simulate`: a call centre's days in virtual time, paced by us and by others. The model is
//! `paceline_sim::pacing`; here are the scenario file, how one is fitted to call records, and the reports.

pub mod fit;
pub mod report;
pub mod scenario;

#[cfg(test)]
mod tests;
