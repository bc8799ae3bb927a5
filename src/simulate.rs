//! `paceline simulate`: runs days of a call centre in virtual time, with Paceline's pacing and with others. The model is
//! `paceline_sim::pacing`. Here are the scenario file, the fit of a scenario to call records, and the reports.

pub mod fit;
pub mod report;
pub mod scenario;
pub mod trunks;

#[cfg(test)]
mod tests;
