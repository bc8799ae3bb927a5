use super::*;
use proptest::prelude::*;

/// Dial strings that make a PBX do more than dial a number over one trunk, in groups by their effect.
const HOSTILE: &[&str] = &[
    // An application of the dialplan, or a shell.
    "loopback/app=system:touch /tmp/x{number}",
    "loopback/app=system:{number}",
    "loopback/app=bridge:sofia/external/{number}",
    "loopback/{number}/default/inline",
    "loopback/{number}",
    "{number}&system(reboot)",
    "PJSIP/{number}@carrier&park()",
    "error/{number}",
    "group/{number}",
    "null/{number}",
    "tone_stream://{number}",
    "System(rm {number})",
    // A host that the text selects.
    "sofia/external/{number}@203.0.113.9",
    "sofia/gateway/carrier/{number}@203.0.113.9",
    "sofia/gateway/carrier/{number};fs_path=sip:203.0.113.9",
    "sofia/gateway/carrier::x/{number}",
    "sofia/internal/sip:{number}@203.0.113.9",
    "PJSIP/carrier/sip:{number}@203.0.113.9",
    "PJSIP/carrier/{number}",
    "PJSIP/sip:{number}@carrier",
    "PJSIP/{number}@carrier@203.0.113.9",
    "PJSIP/{number}@carrier:5060",
    "PJSIP/{number}@carrier;transport=tcp",
    "SIP/{number}@203.0.113.9",
    "SIP/carrier/{number}",
    "IAX2/me:secret@203.0.113.9/{number}",
    "user/{number}@company/x",
    // Several destinations.
    "PJSIP/{number}@carrier&PJSIP/900@carrier",
    "sofia/gateway/carrier/{number},sofia/gateway/other/900",
    "sofia/gateway/carrier/{number}|sofia/gateway/other/900",
    "sofia/gateway/carrier/{number}:_:sofia/gateway/other/900",
    // Variables, functions and options.
    "{execute_on_answer=system reboot}sofia/gateway/carrier/{number}",
    "[leg_timeout=1]sofia/gateway/carrier/{number}",
    "<a=b>sofia/gateway/carrier/{number}",
    "^^:a=b:sofia/gateway/carrier/{number}",
    "sofia/gateway/carrier/^^{number}",
    "sofia/gateway/${system(reboot)}/{number}",
    "sofia/gateway/carrier/$${x}{number}",
    "Local/${SHELL(reboot)}{number}@from-internal/n",
    "PJSIP/{number}@carrier,30,b(x^s^1)",
    "PJSIP/{number}@carrier/b(handler)",
    "Local/{number}@from-internal/nj",
    "Local/{number}@from-internal/b",
    "Local/{number}@from-internal/n/n",
    "Local/{number}@from-internal,s,1",
    "Local/{number}",
    // A function of the dialplan.
    "Local/*72{digits}@from-internal/n",
    "loopback/*72{digits}/default",
    // The number in place of the name, no name, or an invalid name.
    "PJSIP/900@{digits}",
    "sofia/gateway/{digits}/900",
    "PJSIP/{digits}",
    "sofia/gateway//{digits}",
    "Local/{digits}@/n",
    "PJSIP/{digits}@",
    "PJSIP/{digits}@a b",
    "PJSIP/{digits}@a\nb",
    "PJSIP/{digits}@a\r\nAction: Command",
    "PJSIP/{digits}@a\0",
    "PJSIP/{digits}@caf\u{e9}",
    " PJSIP/{digits}@carrier",
    "pjsip/{digits}@carrier",
    "PJSIP/{digits}{digits}@carrier",
    "PJSIP/{digits}{number}@carrier",
    "",
];

#[test]
fn each_form_renders_its_placeholder_only() {
    let number = E164::new("+12025550123").unwrap();
    let render = |text: &str| {
        TrunkTemplate::new(text)
            .unwrap()
            .render(&number)
            .expose()
            .to_owned()
    };
    for (template, rendered) in [
        ("PJSIP/{number}@carrier", "PJSIP/+12025550123@carrier"),
        ("PJSIP/00{digits}#@carrier", "PJSIP/0012025550123#@carrier"),
        (
            "Local/{digits}@from-internal/n",
            "Local/12025550123@from-internal/n",
        ),
        ("Local/9{digits}@out", "Local/912025550123@out"),
        (
            "sofia/gateway/5f0c.a_b-1/{number}",
            "sofia/gateway/5f0c.a_b-1/+12025550123",
        ),
        (
            "loopback/{digits}/example.com",
            "loopback/12025550123/example.com",
        ),
        ("user/{digits}@example.com", "user/12025550123@example.com"),
    ] {
        assert_eq!(render(template), rendered);
        assert!(is_dial_string(rendered), "{rendered}");
    }
    let phone = |text: &str| {
        let template = AgentTemplate::new(text).unwrap();
        template
            .render(&Extension::new("agent-7").unwrap())
            .expose()
            .to_owned()
    };
    assert_eq!(phone("PJSIP/{extension}"), "PJSIP/agent-7");
    assert_eq!(phone("user/{extension}@example.com"), "user/agent-7@example.com");
    assert_eq!(phone("Local/{extension}@agents/n"), "Local/agent-7@agents/n");
}

#[test]
fn a_text_that_selects_an_application_a_function_a_host_or_a_shell_is_not_a_dial_string() {
    for hostile in HOSTILE {
        assert!(TrunkTemplate::new(hostile).is_err(), "{hostile:?}");
        for placeholder in ["{number}", "{digits}"] {
            let agents = hostile.replace(placeholder, "{extension}");
            // An agent's phone needs no name after it, and two placeholders of a trunk are no case for an agent. All other
            // strings are refused for agents too.
            if agents != "PJSIP/{extension}" && !hostile.starts_with("PJSIP/{digits}{") {
                assert!(AgentTemplate::new(&agents).is_err(), "{agents:?}");
            }
            let rendered = hostile.replace(placeholder, "12025550123");
            if rendered.contains([
                '{', '&', ':', ' ', '$', ',', '\n', '|', ';', '=', '^', '[', '<', '(',
            ]) {
                assert!(DialString::new(&rendered).is_err(), "{rendered:?}");
            }
        }
    }
    assert_eq!(
        TrunkTemplate::new("PJSIP/carrier"),
        Err(TemplateError::TrunkPlaceholder)
    );
    assert_eq!(
        TrunkTemplate::new("PJSIP/carrier/{number}")
            .unwrap_err()
            .to_string(),
        "write it as PJSIP/USER@ENDPOINT: USER is the placeholder, with nothing but a prefix of digits (to an endpoint or a \
         gateway also `+`, `*`, `#`) beside it, and the name is 1 to 64 letters, digits, `-`, `_` or `.`. Hosts, \
         applications, functions and options are refused: the PBX would carry them out"
    );
}

#[test]
fn an_extension_cannot_extend_its_dial_string() {
    for bad in [
        "", "7&SIP/1", "7/n", "7@x", "7,g", "7 8", "7:8", "app=x", "7\n", "${x}",
    ] {
        assert_eq!(Extension::new(bad), Err(TemplateError::Extension), "{bad}");
    }
}

#[test]
fn a_dialplan_is_given_no_extension_that_may_be_an_outside_number() {
    let extension = |text: &str| Extension::new(text).unwrap();
    let agents = |text: &str| AgentTemplate::new(text).unwrap();
    for dialplan in [
        "Local/{extension}@from-internal/n",
        "loopback/{extension}/default",
    ] {
        let rules = DialRules::any();
        for outside in ["00882123456789", "2025550123", "0-0-8-8-2-1-2-3", "a12025550123"] {
            let refused = rules.permit_agent(&agents(dialplan), &extension(outside));
            assert!(refused.is_err(), "{dialplan} {outside}");
        }
        assert_eq!(
            rules.permit_agent(&agents(dialplan), &extension("5550123")),
            Ok(())
        );
        let rules = rules.with_agent_digits_max(10);
        assert_eq!(
            rules.permit_agent(&agents(dialplan), &extension("2025550123")),
            Ok(())
        );
    }
    // These name an object that the PBX's administrator has configured.
    for name in ["PJSIP/{extension}", "user/{extension}"] {
        let permitted = DialRules::any().permit_agent(&agents(name), &extension("2025550123"));
        assert_eq!(permitted, Ok(()));
    }
}

#[test]
fn a_pbx_is_given_only_what_its_rules_name() {
    let trunk = |text: &str| TrunkTemplate::new(text).unwrap();
    let rules = DialRules::new(vec![
        DialRule::new("PJSIP/carrier").unwrap(),
        DialRule::new("Local/*").unwrap(),
    ]);
    assert!(rules.permit(&trunk("PJSIP/{number}@carrier")).is_ok());
    assert!(rules.permit(&trunk("Local/{number}@anything/n")).is_ok());
    assert_eq!(
        rules
            .permit(&trunk("PJSIP/{number}@other"))
            .unwrap_err()
            .to_string(),
        "trunks of this PBX may lead to PJSIP/carrier, Local/* and to nothing else; where this one is wanted, add it to \
         `dial_allowed` of the PBX in paceline.toml and restart"
    );
    assert!(
        DialRules::asterisk()
            .permit(&trunk("sofia/gateway/a/{number}"))
            .is_err()
    );
    assert!(
        DialRules::freeswitch()
            .permit(&trunk("PJSIP/{number}@a"))
            .is_err()
    );
    assert!(
        DialRules::freeswitch()
            .permit(&trunk("loopback/{number}/a"))
            .is_ok()
    );
    for bad in [
        "PJSIP",
        "PJSIP/",
        "PJSIP/a*",
        "PJSIP/a@b",
        "*",
        "sofia/external/*",
        "app/*",
    ] {
        assert_eq!(DialRule::new(bad), Err(TemplateError::Rule), "{bad}");
    }
}

proptest! {
    /// Random sequences of parts of dial strings and of other characters.
    #[test]
    fn every_accepted_caller_id_renders_to_one_user_part_and_one_plain_name(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "PJSIP/", "Local/", "sofia/", "gateway/", "loopback/", "user/", "{number}", "{digits}", "@", "/", "/n",
                    "carrier", "app=", "system:", "&", ",", "|", ":_:", "^^", "${", "}", "{", "[", "]", "<", "\\", "'",
                    "\"", " ", "\n", "sip:", ";", "9", "*", "#", "+", "b(x)", "\u{e9}", "\0",
                ]).prop_map(str::to_owned),
                "\\PC{0,3}",
            ],
            0..8,
        ),
        digits in "[1-9][0-9]{7,14}",
    ) {
        let Ok(template) = TrunkTemplate::new(&pieces.concat()) else { return Ok(()) };
        let number = E164::new(&format!("+{digits}")).unwrap();
        let dial = template.render(&number);
        let text = dial.expose();
        prop_assert!(is_dial_string(text));
        let (_, rest) = DialKind::of(text).unwrap();
        let rest = rest.strip_suffix("/n").unwrap_or(rest);
        prop_assert!(rest.contains(&digits));
        // One separator is the only character with a special meaning to a PBX.
        let special = rest.bytes().filter(|byte| !is_plain(*byte) && !b"+*#".contains(byte)).count();
        prop_assert_eq!(special, 1);
    }
}
