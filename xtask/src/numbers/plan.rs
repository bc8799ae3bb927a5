//! Number plans as one automaton: the digits of a national number lead to its kind and its country.

use super::automaton::{Automaton, Node};
use super::sources::{AreaPlan, Desc, Plan, Region, Sources};
use anyhow::{Context, bail};
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The kinds as numbers; 0 is unknown. `crates/places/src/lib.rs` has the same order.
const FIXED: u16 = 1;
const MOBILE: u16 = 2;
const FIXED_OR_MOBILE: u16 = 3;
/// In the order in which libphonenumber asks for them.
const SERVICES: [(&str, u16); 8] = [
    ("premium_rate", 5),
    ("toll_free", 4),
    ("shared_cost", 6),
    ("voip", 7),
    ("personal_number", 8),
    ("pager", 9),
    ("uan", 10),
    ("voicemail", 11),
];

/// Value of a number: its kind, and 16 times the index of its country among those of its calling code.
fn kind(value: u16) -> u16 {
    value % 16
}

/// All plans, compiled.
pub(super) struct Plans {
    pub(super) automaton: Automaton,
    /// First state by calling code.
    pub(super) roots: BTreeMap<String, u32>,
    /// The areas that have fixed or mobile numbers, by calling code, each with the indexes of its countries.
    pub(super) areas: BTreeMap<String, BTreeMap<String, BTreeSet<u16>>>,
}

const DIGITS_MAX: usize = 15;

/// Compiles all plans.
pub(super) fn compile(sources: &Sources) -> anyhow::Result<Plans> {
    let mut plans = Plans {
        automaton: Automaton::new(),
        roots: BTreeMap::new(),
        areas: BTreeMap::new(),
    };
    for plan in &sources.data.plans {
        let digits = sources.corrections.plan.iter().find(|p| p.code == plan.code);
        let walk = Walk::new(plan)?;
        if let Some(digits) = digits {
            let areas = walk.areas(digits)?;
            plans.areas.insert(plan.code.clone(), areas);
        }
        // Where each area is in one country, the automaton need not repeat it.
        let areas = plans.areas.get(&plan.code).filter(|_| plan.code == "1");
        let mut memo = HashMap::new();
        let root = walk.build(
            &mut plans.automaton,
            &mut memo,
            walk.start,
            String::new(),
            false,
            areas,
        )?;
        plans.roots.insert(plan.code.clone(), root);
    }
    Ok(plans)
}

/// The patterns of a plan as one DFA.
struct Walk<'a> {
    plan: &'a Plan,
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
    patterns: HashMap<&'a str, usize>,
    leading: HashMap<&'a str, usize>,
}

type Memo = HashMap<(StateID, usize, bool), u32>;

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan) -> anyhow::Result<Self> {
        let mut texts = Vec::new();
        let (mut patterns, mut leading) = (HashMap::new(), HashMap::new());
        for region in &plan.regions {
            for desc in region.general.iter().chain(region.kinds.values()) {
                patterns.entry(desc.pattern.as_str()).or_insert_with(|| {
                    texts.push(format!("^(?:{})$", desc.pattern));
                    texts.len() - 1
                });
            }
            if let Some(digits) = &region.leading_digits {
                texts.push(format!("^(?:{digits})[0-9]*$"));
                leading.insert(region.region.as_str(), texts.len() - 1);
            }
        }
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Anchored),
            )
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build_many(&texts)
            .with_context(|| format!("the patterns of +{}", plan.code))?;
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::Yes))?;
        Ok(Self {
            plan,
            dfa,
            start,
            patterns,
            leading,
        })
    }

    /// The value of a number of `length` digits that ends in this state.
    fn value(&self, state: StateID, length: usize) -> anyhow::Result<u16> {
        let end = self.dfa.next_eoi_state(state);
        let matched: BTreeSet<usize> = if self.dfa.is_match_state(end) {
            (0..self.dfa.match_len(end))
                .map(|i| self.dfa.match_pattern(end, i).as_usize())
                .collect()
        } else {
            BTreeSet::new()
        };
        let is = |desc: Option<&Desc>| {
            desc.is_some_and(|desc| {
                let fits = desc.lengths.is_empty() || desc.lengths.contains(&length);
                let pattern = self.patterns.get(desc.pattern.as_str());
                fits && pattern.is_some_and(|pattern| matched.contains(pattern))
            })
        };
        for (index, region) in self.plan.regions.iter().enumerate() {
            let kind = kind_in(region, &is);
            let here = match self.leading.get(region.region.as_str()) {
                Some(pattern) => matched.contains(pattern),
                None => kind > 0,
            };
            if here {
                return Ok(kind + 16 * u16::try_from(index)?);
            }
        }
        Ok(0)
    }

    fn step(&self, state: StateID, digit: u8) -> StateID {
        self.dfa.next_state(state, digit)
    }

    fn build(
        &self,
        automaton: &mut Automaton,
        memo: &mut Memo,
        state: StateID,
        digits: String,
        in_area: bool,
        areas: Option<&BTreeMap<String, BTreeSet<u16>>>,
    ) -> anyhow::Result<u32> {
        let length = digits.len();
        if length > DIGITS_MAX || self.dfa.is_dead_state(state) {
            return Ok(0);
        }
        let in_area = in_area || areas.is_some_and(|areas| areas.contains_key(&digits));
        // Before the end of the area code, states that are equal as patterns may still differ by area.
        let key = (state, length, in_area);
        if (areas.is_none() || length > 3)
            && let Some(known) = memo.get(&key)
        {
            return Ok(*known);
        }
        let value = self.value(state, length)?;
        let mut node = Node {
            value: if in_area { kind(value) } else { value },
            ..Node::default()
        };
        for (digit, next) in (b'0'..).zip(&mut node.next) {
            let longer = format!("{digits}{}", char::from(digit));
            *next = self.build(automaton, memo, self.step(state, digit), longer, in_area, areas)?;
        }
        let index = automaton.intern(node)?;
        memo.insert(key, index);
        Ok(index)
    }

    /// All areas whose numbers say where they are.
    fn areas(&self, digits: &AreaPlan) -> anyhow::Result<BTreeMap<String, BTreeSet<u16>>> {
        let area_digits = digits.area_digits;
        let says_where = |kind| match kind {
            FIXED | FIXED_OR_MOBILE => true,
            MOBILE => digits.mobile_has_area,
            _ => false,
        };
        let mut areas = BTreeMap::new();
        for area in 0..10_u32.pow(u32::try_from(area_digits)?) {
            let area = format!("{area:0area_digits$}");
            let state = area
                .bytes()
                .fold(self.start, |state, digit| self.step(state, digit));
            let mut found = BTreeSet::new();
            self.reach(state, area_digits, &mut BTreeSet::new(), &mut found)?;
            let numbers = found.iter().filter(|value| says_where(kind(**value)));
            let regions: BTreeSet<u16> = numbers.map(|value| value / 16).collect();
            if !regions.is_empty() {
                areas.insert(area, regions);
            }
        }
        if areas.is_empty() {
            bail!("+{} has no areas", self.plan.code);
        }
        Ok(areas)
    }

    fn reach(
        &self,
        state: StateID,
        length: usize,
        seen: &mut BTreeSet<(StateID, usize)>,
        found: &mut BTreeSet<u16>,
    ) -> anyhow::Result<()> {
        if length > DIGITS_MAX || self.dfa.is_dead_state(state) || !seen.insert((state, length)) {
            return Ok(());
        }
        found.insert(self.value(state, length)?);
        for digit in b'0'..=b'9' {
            self.reach(self.step(state, digit), length + 1, seen, found)?;
        }
        Ok(())
    }
}

/// The kind of a number in a region, as `libphonenumber` finds it (`_number_type_helper`).
fn kind_in(region: &Region, is: &impl Fn(Option<&Desc>) -> bool) -> u16 {
    let is_kind = |kind: &str| is(region.kinds.get(kind));
    if !is(region.general.as_ref()) {
        return 0;
    }
    if let Some((_, kind)) = SERVICES.iter().find(|(kind, _)| is_kind(kind)) {
        return *kind;
    }
    match (is_kind("fixed_line"), region.fixed_is_mobile || is_kind("mobile")) {
        (true, true) => FIXED_OR_MOBILE,
        (true, false) => FIXED,
        (false, true) if !region.fixed_is_mobile => MOBILE,
        (false, _) => 0,
    }
}
