//! Refuses numbers that cost money without notice: foreign and premium-rate ones, unless the user says that they are wanted.
//! Imports and the API refuse the same numbers in the same words.

use super::{Country, Numbered, Plan, is_region};
use paceline_core::contact::NumberKind;

/// The word for all countries.
pub const ANY_COUNTRY: &str = "any";

/// The numbers that are accepted.
pub struct Allowed {
    /// `None`: the numbers of every country.
    countries: Option<Vec<Country>>,
    /// True if the user named the countries. Otherwise a contact that states a country may have a number there.
    named: bool,
    premium_rate: bool,
}

impl Allowed {
    /// Accepts numbers of these `countries` (ISO 3166-1, or [`ANY_COUNTRY`]). If `None`: those of the region of `plan`, and of the
    /// country that a contact states; without a region, those of every country.
    pub fn new(countries: Option<&[String]>, premium_rate: bool, plan: &Plan) -> Self {
        let named = countries.map(|all| {
            let any = all.iter().any(|country| country == ANY_COUNTRY);
            (!any).then(|| all.iter().filter_map(|country| Country::new(country)).collect())
        });
        Self {
            named: named.is_some(),
            countries: named.unwrap_or_else(|| plan.country().map(|home| vec![home])),
            premium_rate,
        }
    }

    /// The first of these countries that is not known.
    pub fn unknown(countries: &[String]) -> Option<&String> {
        let known = |country: &&String| *country == ANY_COUNTRY || is_region(country);
        countries.iter().find(|country| !known(country))
    }

    /// The reason for a refusal, with the option that accepts the number. `None` if the number is accepted.
    pub fn refuses(&self, number: &Numbered, stated: Option<Country>) -> Option<String> {
        if number.kind == NumberKind::PremiumRate && !self.premium_rate {
            let why = "a premium-rate number, which costs whoever calls it: to take them, say so (`--premium-rate`; in the API \
                `premium_rate=true`)";
            return Some(why.to_owned());
        }
        let wanted = self.countries.as_ref()?;
        if wanted.contains(&number.country) || (!self.named && stated == Some(number.country)) {
            return None;
        }
        let list: Vec<_> = wanted.iter().map(Country::to_string).collect();
        Some(format!(
            "a number in {}, and only those in {} are wanted: to take it, name its country too (`--countries`; in the API \
             `countries`)",
            number.country,
            list.join(", ")
        ))
    }
}
