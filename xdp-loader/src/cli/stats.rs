//! `stats`.

use super::{Done, daemon::Daemon, load::seconds, output::Output, place::Place};
use clap::Args;
use ratatui::{
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
    layout::{Constraint, Layout},
    style::Style,
    text::Line,
    widgets::{Block, Cell, Row, Table},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use xdp_loader::{CounterStat, Exit, LoaderError, Observer, Stats, drop_privileges};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Time between the two looks that give the rates; 0: one look.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Look again and again: a table on the terminal until `q`, with --json an object a line.
    #[arg(long, conflicts_with = "prometheus")]
    watch: bool,
    /// Print Prometheus' text format, for the textfile collector or any exporter that runs a command.
    #[arg(long, conflicts_with = "json")]
    prometheus: bool,
    /// The socket of a shard's ring0d: what a ring in a process counts, its AF_XDP sockets' statistics among it. Such a ring has no pins.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["watch", "prometheus", "name", "interface", "pin_root"])]
    socket: Option<PathBuf>,
    /// With counters that are zero.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    if let Some(socket) = &arguments.socket {
        return ask_daemon(socket, arguments.all, out);
    }
    let mut observer = Observer::open(&arguments.place.pin_root())?;
    // All is open: what follows reads it.
    drop_privileges()?;
    if arguments.prometheus {
        let stats = observer.look()?;
        out.say(&stats, stats.prometheus());
        return Ok(Exit::Ok);
    }
    if arguments.watch {
        return match out.json {
            true => watch_lines(&mut observer, arguments, out),
            false => watch(&mut observer, arguments),
        };
    }
    let mut stats = observer.look()?;
    if !arguments.interval.is_zero() {
        std::thread::sleep(arguments.interval);
        stats = observer.look()?;
    }
    out.say(&stats, text(&stats, arguments.all));
    Ok(Exit::Ok)
}

/// What a daemon says of the ring in its process.
#[derive(Serialize)]
struct RingInProcess {
    socket: PathBuf,
    shard: String,
    udp_port: u64,
    /// Frames and packets by what the shard made of them.
    counters: BTreeMap<String, u64>,
    /// What the ring's way in and out counts: its sockets, the kernel's statistics of them, its program.
    port_counters: BTreeMap<String, u64>,
    published: u64,
    slots: u64,
}

fn ask_daemon(socket: &Path, all: bool, out: Output) -> Done {
    let status = Daemon::connect(socket)?.ask(&json!({"verb": "status"}))?;
    let numbers = |of: &Value| -> BTreeMap<String, u64> {
        let map = of.as_object().into_iter().flatten();
        map.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .collect()
    };
    let number = |of: &Value| of.as_u64().unwrap_or(0);
    let ring = RingInProcess {
        socket: socket.to_owned(),
        shard: status["shard"].as_str().unwrap_or("").to_owned(),
        udp_port: number(&status["port"]),
        counters: numbers(&status["counters"]),
        port_counters: numbers(&status["port_counters"]),
        published: number(&status["ring"]["published"]),
        slots: number(&status["ring"]["slots"]),
    };
    let mut text = format!("shard {}, port {}", ring.shard, ring.udp_port);
    for (what, counters) in [("", &ring.counters), ("ring ", &ring.port_counters)] {
        for (name, count) in counters.iter().filter(|(_, count)| all || **count != 0) {
            let _ = write!(text, "\n{:<40} {count:>16}", format!("{what}{name}"));
        }
    }
    let (published, slots) = (ring.published, ring.slots);
    let _ = write!(
        text,
        "\nrecord ring: {published} slots published, of {slots}"
    );
    out.say(&ring, text);
    Ok(Exit::Ok)
}

fn watch_lines(observer: &mut Observer, arguments: &Arguments, out: Output) -> Done {
    loop {
        let stats = observer.look()?;
        if !out.say(&stats, "") {
            return Ok(Exit::Ok);
        }
        std::thread::sleep(arguments.interval.max(SHORTEST));
    }
}

/// A shorter one would cost more than it shows.
const SHORTEST: Duration = Duration::from_millis(100);

fn watch(observer: &mut Observer, arguments: &Arguments) -> Done {
    let broken = |source: io::Error| LoaderError::Call {
        doing: "drawing on the terminal".to_owned(),
        source,
        cure: "run it in a terminal, or give --json",
    };
    let mut terminal = ratatui::try_init().map_err(broken)?;
    let result = loop {
        let stats = match observer.look() {
            Ok(stats) => stats,
            Err(error) => break Err(error),
        };
        let drawn = terminal.draw(|frame| draw(frame, &stats, arguments.all));
        if let Err(error) = drawn {
            break Err(broken(error));
        }
        match is_over(arguments.interval.max(SHORTEST)) {
            Ok(false) => {}
            Ok(true) => break Ok(Exit::Ok),
            Err(error) => break Err(broken(error)),
        }
    };
    ratatui::restore();
    result
}

/// Whether the user wants to go, within the time until the next look.
fn is_over(wait: Duration) -> io::Result<bool> {
    if !event::poll(wait)? {
        return Ok(false);
    }
    Ok(match event::read()? {
        Event::Key(key) => {
            let control_c =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
        }
        _ => false,
    })
}

fn draw(frame: &mut ratatui::Frame<'_>, stats: &Stats, all: bool) {
    let consumers = stats.ring.consumers.len() as u16;
    let [top, bottom] = Layout::vertical([Constraint::Min(5), Constraint::Length(consumers + 4)])
        .areas(frame.area());
    let beside = if stats.totals.is_empty() { 0 } else { 2 };
    let [top, side] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(beside)]).areas(top);
    let right = |text: String| Cell::from(Line::from(text).right_aligned());
    // Numbers stand to the right, and so do their heads.
    let head = |[name, middle, last]: [&'static str; 3]| {
        let cells = [
            Cell::from(name),
            right(middle.to_owned()),
            right(last.to_owned()),
        ];
        Row::new(cells).style(Style::new().bold())
    };
    let counters = shown(&stats.counters, all).map(|one| {
        Row::new([
            Cell::from(one.name.clone()),
            right(format!("{:.0}", one.per_second)),
            right(one.total.to_string()),
        ])
    });
    let widths = [
        Constraint::Min(18),
        Constraint::Length(11),
        Constraint::Length(14),
    ];
    let table = Table::new(counters, widths)
        .header(head(["frames", "per second", "total"]))
        .block(Block::bordered().title(format!(" {} · q ends ", title(stats))));
    frame.render_widget(table, top);
    let totals = stats.totals.iter().filter(|one| all || one.value != 0);
    let rows =
        totals.map(|one| Row::new([Cell::from(one.name.clone()), right(one.value.to_string())]));
    let table = Table::new(rows, [Constraint::Min(17), Constraint::Length(20)])
        .header(Row::new(["shard", ""]).style(Style::new().bold()))
        .block(Block::bordered());
    frame.render_widget(table, side);
    let ring = &stats.ring;
    let rows = ring.consumers.iter().map(|one| {
        Row::new([
            Cell::from(one.name.clone()),
            right(if one.required { "required" } else { "" }.to_owned()),
            right(one.lag.to_string()),
        ])
    });
    let table = Table::new(rows, widths)
        .header(head(["consumer", "", "slots behind"]))
        .block(Block::bordered().title(format!(
            " record ring: {} published, {:.0}/s, {} of {} free, {} on the disk ",
            ring.published, ring.per_second, ring.free, ring.slots, ring.durable_slots
        )));
    frame.render_widget(table, bottom);
}

fn shown(counters: &[CounterStat], all: bool) -> impl Iterator<Item = &CounterStat> {
    counters.iter().filter(move |one| all || one.total != 0)
}

fn title(stats: &Stats) -> String {
    let mut text = stats.interface.clone();
    if let Some(netns) = &stats.netns {
        let _ = write!(text, " in {netns}");
    }
    if let Some(port) = stats.port {
        let _ = write!(text, ", port {port}");
    }
    match stats.program_id {
        Some(id) => {
            let _ = write!(text, ": program {id}");
        }
        None => text.push_str(": NOT attached"),
    }
    text
}

fn text(stats: &Stats, all: bool) -> String {
    let mut text = format!(
        "{}\n{:<28} {:>12} {:>16}",
        title(stats),
        "frames",
        "per second",
        "total"
    );
    let mut list = |counters: &[CounterStat], before: &str| {
        for one in shown(counters, all) {
            let name = format!("{before}{}", one.name);
            let _ = write!(
                text,
                "\n{name:<28} {:>12.0} {:>16}",
                one.per_second, one.total
            );
        }
    };
    list(&stats.counters, "");
    list(
        stats.dispatcher_counters.as_deref().unwrap_or_default(),
        "dispatcher ",
    );
    for one in stats.totals.iter().filter(|one| all || one.value != 0) {
        let _ = write!(text, "\nshard {:<22} {:>29}", one.name, one.value);
    }
    let ring = &stats.ring;
    let _ = write!(
        text,
        "\nrecord ring: {} slots published, {:.0}/s, {} of {} free; on the disk {} (sequence {}){}",
        ring.published,
        ring.per_second,
        ring.free,
        ring.slots,
        ring.durable_slots,
        ring.durable_sequence,
        if ring.journal_failed {
            ", JOURNAL FAILED"
        } else {
            ""
        }
    );
    for one in &ring.consumers {
        let required = if one.required { " (required)" } else { "" };
        let _ = write!(
            text,
            "\nconsumer {}{required}: {} slots read, {} behind",
            one.name, one.consumed, one.lag
        );
    }
    let _ = write!(
        text,
        "\ncommand ring: {} commands written, {} slots",
        stats.commands_written, stats.command_slots
    );
    text
}
