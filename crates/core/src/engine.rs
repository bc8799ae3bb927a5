//! The engine of one campaign.
