//! The lab for a person: a running holdfast, a prompt to cut and mend the network, time to dig.

use std::io::BufRead;

use crate::lab::Lab;
use crate::net::{Cut, FAR, HOME_TLD, ROOTS};
use crate::resolver::{ADDRESS, ROOT_MIRROR, Site};
use crate::zones::{Fault, SERIAL};

/// Returns when the person says `quit` or closes the input.
pub fn run(lab: &Lab) {
    let site = Site::new(lab, "play", &[ROOT_MIRROR]);
    let resolver = site.start();
    let client = lab.net.space("client");
    println!(
        "\nholdfast runs on {ADDRESS}; its directory: {dir}\n\n  ip netns exec {client} dig @{ADDRESS} +dnssec www.bank.home\n  \
         holdfast status --config {dir}/config.toml\n\n\
         cut roots|far|home-tld      drop silently\nicmp roots|far|home-tld     answer with ICMP unreachable\n\
         restore                     mend every cut\npublish                     a newer root that delegates new.\nlog                         the resolver's last lines\nquit\n",
        dir = site.dir.display()
    );
    let mut serial = SERIAL;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["cut", what] => cut(lab, what, Cut::Silent),
            ["icmp", what] => cut(lab, what, Cut::Icmp),
            ["restore"] => lab.net.restore_all(),
            ["publish"] => {
                serial += 1;
                lab.publish(serial, true, Fault::None);
                println!("the roots serve {serial}");
            }
            ["log"] => println!("{}", resolver.tail()),
            ["quit"] => return,
            [] => {}
            _ => println!("cut, icmp, restore, publish, log or quit"),
        }
    }
}

fn cut(lab: &Lab, what: &str, how: Cut) {
    match what {
        "roots" => lab.net.cut(&ROOTS, how),
        "far" => lab.net.cut(&FAR, how),
        "home-tld" => lab.net.cut(&HOME_TLD, how),
        _ => println!("roots, far or home-tld"),
    }
}
