//! The trunks, their groups, the shares of the campaigns and the weights of the choice, as values.

use crate::ids::{CampaignId, TrunkGroupId, TrunkId};

/// A trunk as the arbiter knows it. A limit that is `None` does not exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    /// Its id.
    pub id: TrunkId,
    /// Its group. A trunk without a group is a group of its own.
    pub group: Option<TrunkGroupId>,
    /// Maximum number of legs at the same time.
    pub channels_max: Option<u32>,
    /// Number of channels of `channels_max` that are left for inbound calls.
    pub channels_inbound: u32,
    /// Maximum number of legs in any 1,000 ms. Below 1, one leg in `1 / calls_per_s_max` seconds.
    pub calls_per_s_max: Option<f64>,
    /// The regions that it may call. Empty: all, also an unknown one.
    pub regions: Vec<String>,
    /// The carriers that it may call. Empty: all, also an unknown one.
    pub carriers: Vec<String>,
    /// The tier of contacts that it is meant for; 1 is the most valuable. `None`: all.
    pub tier: Option<u32>,
    /// Price of a minute, in any currency.
    pub price_per_minute: Option<f64>,
}

impl Trunk {
    /// A trunk without limits.
    pub fn new(id: TrunkId) -> Self {
        Self {
            id,
            group: None,
            channels_max: None,
            channels_inbound: 0,
            calls_per_s_max: None,
            regions: Vec::new(),
            carriers: Vec::new(),
            tier: None,
            price_per_minute: None,
        }
    }
}

/// A group of trunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkGroup {
    /// Its id.
    pub id: TrunkGroupId,
    /// The group that takes the calls while this one is out or full.
    pub standby: Option<TrunkGroupId>,
}

/// The share of a campaign where campaigns compete for trunks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CampaignShare {
    /// The campaign.
    pub id: CampaignId,
    /// Its weight. A campaign without a share has the weight 1.
    pub weight: f64,
}

/// The weights of a trunk's score: `connect · connect rate + idle · (1 − occupancy) + asr · ASR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Weight of the connect rate: live answers ÷ legs.
    pub connect: f64,
    /// Weight of the share of free channels.
    pub idle: f64,
    /// Weight of the ASR: answers ÷ legs that got through, without false answers.
    pub asr: f64,
    /// True: the rates are relative to the best sibling for the same region and carrier. False: the rates as they are, and
    /// no trunk is tried only to learn about it.
    pub relative: bool,
}

impl Weights {
    /// The preset `default`.
    pub const DEFAULT: Weights = Weights {
        connect: 0.65,
        idle: 0.05,
        asr: 0.3,
        relative: true,
    };
    /// The preset `document`: the weights that the industry's documents name, over raw rates. It answers about a tenth fewer
    /// calls than `default`.
    pub const DOCUMENT: Weights = Weights {
        connect: 0.5,
        idle: 0.3,
        asr: 0.2,
        relative: false,
    };

    /// The preset with this name.
    pub fn preset(name: &str) -> Option<Weights> {
        match name {
            "default" => Some(Self::DEFAULT),
            "document" => Some(Self::DOCUMENT),
            _ => None,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the arbiter decides by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrunkSettings {
    /// The weights of the score.
    pub weights: Weights,
    /// The trunks. Among equals, the first is used first.
    pub trunks: Vec<Trunk>,
    /// The groups. A group that is not listed has no standby.
    pub groups: Vec<TrunkGroup>,
    /// The shares of the campaigns.
    pub campaigns: Vec<CampaignShare>,
}
