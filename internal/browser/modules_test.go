package browser

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Modules of the pages by themselves.
func openModules(t *testing.T) *page {
	n := startThreenode(t, "-demo=false")
	p := newBrowser(t).open(n.origin + "/")
	p.waitState("live")
	return p
}

// vigils runs Vigils over connections that are made up, all at once, and returns what each
// has told. A connection hears something every 100 ms but from quiet[0] to quiet[1], in ms.
const vigils = `(async () => {
	const {Vigil} = await import("/assets/vigil.js");
	const watch = ({answer, quiet = [500, Infinity], patient = false}) => {
		const begun = performance.now(), told = [];
		const pc = {connectionState: "connected", getStats: async () => {
			const now = performance.now() - begun;
			const heard = now < quiet[0] ? now : now < quiet[1] ? quiet[0] : now;
			return new Map([["t", {type: "transport", packetsReceived: Math.floor(heard / 100)}]]);
		}};
		const vigil = new Vigil({pc, patient: () => patient, probe: answer,
			told: (what, problem) => told.push([what, problem?.code ?? "", performance.now() - begun])});
		return () => { vigil.stop(); return told.map(([what, code, at]) => ({What: what, Code: code, At: at})); };
	};
	const gone = async () => ({code: "unreachable"});
	const all = {
		"it flows": watch({answer: gone, quiet: [Infinity, Infinity]}),
		"the server is gone": watch({answer: gone}),
		"the server hangs": watch({answer: (ms) => new Promise((done) => setTimeout(done, ms, {code: "unreachable"}))}),
		"the session is over": watch({answer: async () => ({code: "superseded"})}),
		"the server was restarted": watch({answer: async () => ({code: "no-session"})}),
		"media alone is gone": watch({answer: async () => null}),
		"nothing is to come": watch({answer: async () => null, patient: true}),
		"it was away": watch({answer: gone, quiet: [500, 2500]}),
		"a hiccup": watch({answer: async () => null, quiet: [500, 1500]}),
	};
	await new Promise((done) => setTimeout(done, 8000));
	return Object.fromEntries(Object.entries(all).map(([name, end]) => [name, end()]));
})()`

func TestVigil(t *testing.T) {
	p := openModules(t)
	type told struct {
		What, Code string
		At         float64
	}
	seen := eval[map[string][]told](p, vigils)
	for name, want := range map[string][]string{
		"it flows":                 {},
		"the server is gone":       {"silent silent", "over lost"},
		"the server hangs":         {"silent silent", "over lost"},
		"the session is over":      {"over superseded"},
		"the server was restarted": {"over no-session"},
		"media alone is gone":      {"silent stalled", "over lost"},
		"nothing is to come":       {},
		"it was away":              {"silent silent", "heard"},
		"a hiccup":                 {},
	} {
		got := []string{}
		for _, x := range seen[name] {
			what := x.What
			if x.Code != "" {
				what += " " + x.Code
			}
			got = append(got, what)
		}
		assert.Equal(t, want, got, name)
		if len(seen[name]) > 0 && name != "media alone is gone" {
			assert.Less(t, seen[name][0].At, 500.0+soon, "%s: it is told at once", name)
		}
	}
}

// What the pages say is whole sentences, for publishers and for players, whatever a server
// answers.
func TestSentences(t *testing.T) {
	p := openModules(t)
	const all = `(async () => {
		const {problems, sentence, isFinal} = await import("/assets/sentences.js");
		const given = Object.keys(problems).map((code) => ({code}));
		for (const status of [400, 401, 403, 404, 409, 410, 418, 429, 500, 502, 503, 504]) given.push({code: "", status});
		given.push({code: "from-the-future", status: 400, detail: "It says why."}, {code: "constructor", status: 500}, {code: "", status: 0, detail: "it broke."});
		return given.flatMap((g) => [true, false].map((publishing) => sentence({detail: "", ...g}, {stream: "$& cats", publishing})));
	})()`
	for _, s := range eval[[]string](p, all) {
		assert.Regexp(t, `^[A-Z].*\.$`, s)
		assert.NotRegexp(t, `undefined|\{stream\}|null|NaN`, s)
	}
	const say = `(async (problem, publishing) => (await import("/assets/sentences.js")).sentence(problem, {stream: "demo", publishing}))`
	require.Equal(t, `Waiting for "demo". It starts playing as soon as somebody publishes it.`, eval[string](p, say+`({code: "not-found"}, false)`))
	require.Equal(t, "It says why. The page tries again by itself.", eval[string](p, say+`({code: "new", status: 418, detail: "It says why."}, true)`))
	require.Equal(t, []bool{true, true, false, false, true}, eval[[]bool](p, `(async () => {
		const {isFinal} = await import("/assets/sentences.js");
		return [{code: "expired"}, {status: 403}, {status: 503}, {code: "not-found", status: 409}, {code: "", status: 0}].map(isFinal);
	})()`))
}

// Link headers come in many forms (RFC 8288).
func TestLinkHeaders(t *testing.T) {
	p := openModules(t)
	const parse = `(async (header) => (await import("/assets/signaling.js")).iceServers(header))`
	for header, want := range map[string]string{
		``:                                   `[]`,
		`<stun:a.example>; rel="ice-server"`: `[{"urls": "stun:a.example"}]`,
		`<stun:a.example>;rel=ice-server, <turns:b.example?transport=tcp> ; rel="ice-server" ; username="u" ; credential="p,;\\\"q"`: `[{"urls": "stun:a.example"}, {"urls": "turns:b.example?transport=tcp", "username": "u", "credential": "p,;\"q"}]`,
		`<turn:b.example>; rel="ice-server"`:                                               `[]`,
		`</events>; rel="urn:x"; events="a,b", <http://c.example>; rel="ice-server", junk`: `[]`,
	} {
		require.JSONEq(t, want, eval[string](p, `(async () => JSON.stringify(await `+parse+"(`"+header+"`)))()"), header)
	}
}
