// Package trouble says in sentences what is wrong with a network of nodes, and what to
// do: of an error between two nodes, which misconfiguration is behind it.
package trouble

// A Cause names a misconfiguration, in logs and in docs/troubleshooting.md.
type Cause string

// The causes, each with its line in [All].
const (
	Untrusted      Cause = "wrong-secret"
	Clocks         Cause = "clocks-differ"
	NoName         Cause = "name-not-found"
	DNS            Cause = "dns-fails"
	Refused        Cause = "connection-refused"
	Unreachable    Cause = "unreachable"
	NoAnswer       Cause = "no-answer"
	NotHTTP        Cause = "not-http"
	Foreign        Cause = "not-a-node"
	ProxyFails     Cause = "proxy-fails"
	Redirect       Cause = "redirected"
	BadEntry       Cause = "bad-entry"
	PlainPort      Cause = "http-port"
	TLSPort        Cause = "https-port"
	UnknownCA      Cause = "certificate-untrusted"
	OutOfDate      Cause = "certificate-expired"
	OtherName      Cause = "certificate-wrong-name"
	TLS            Cause = "tls-fails"
	NoUDP          Cause = "udp-blocked"
	NoCommonFamily Cause = "no-common-address"
	Version        Cause = "versions-do-not-fit"
	Namesake       Cause = "two-nodes-one-name"
	Self           Cause = "entry-is-itself"
	Circle         Cause = "entries-in-a-circle"
	Refusal        Cause = "node-refuses"
	Proxy          Cause = "undeclared-proxy"
)

// A Trouble is a misconfiguration.
type Trouble struct {
	Cause    Cause
	Sentence string // what is wrong
	Do       string // what to do
}

// All are the troubles that are known.
var All = []Trouble{
	{
		Untrusted, "The two nodes do not trust each other.",
		"Give both the same secret. Without a secret, pins or a CA, only nodes on the same machine are let in.",
	},
	{
		Clocks, "The clocks of the two nodes differ by more than two minutes.",
		"Set the clocks of both machines, for example with chrony or systemd-timesyncd.",
	},
	{
		NoName, "The host name of the entry does not exist.",
		"Check its spelling, and whether this machine can look it up: getent hosts NAME.",
	},
	{
		DNS, "The host name of the entry cannot be looked up, since the DNS server does not answer or fails.",
		"Check this machine's DNS server: /etc/resolv.conf names it.",
	},
	{
		Refused, "Nothing listens at the address and port of the entry.",
		"Check the port, and whether the other node runs.",
	},
	{
		Unreachable, "There is no route to the address of the entry.",
		"Check the address, and the routes and firewalls on the way there.",
	},
	{
		NoAnswer, "The entry does not answer in time.",
		"Check the address and the port. A firewall that drops packets looks like this: open the TCP port of the other node.",
	},
	{
		NotHTTP, "What answers at the entry does not speak HTTP.",
		"Check the port: it has to be the one of the other node's HTTP server.",
	},
	{
		Foreign, "A server answers at the entry, but it is not a Delta node that serves other nodes.",
		"Check the port and the path. A node that is an edge alone serves no others: it needs the role origin or relay.",
	},
	{
		ProxyFails, "The proxy in front of the other node cannot reach it.",
		"Check whether the node behind the proxy runs, and which address and port the proxy passes requests to.",
	},
	{
		Redirect, "The server at the entry sends this node elsewhere.",
		"Use the address that it redirects to (see err) as the entry.",
	},
	{
		BadEntry, "The entry is not a URL that this node can ask.",
		"Write it with its scheme, as in https://o1.example.com or http://192.0.2.1:8080.",
	},
	{
		PlainPort, "The entry says https, but the server there speaks plain HTTP.",
		"Write http:// in the entry, or set up TLS at the other node.",
	},
	{
		TLSPort, "The entry says http, but the server there expects https.",
		"Write https:// in the entry.",
	},
	{
		UnknownCA, "The certificate of the entry is not by an authority that this machine trusts.",
		"Use a certificate by a public authority there, or have this machine trust its authority: SSL_CERT_FILE names a file with additional ones.",
	},
	{
		OutOfDate, "The certificate of the entry is not valid at this time.",
		"Renew it at the other node, or set the clock of this machine.",
	},
	{
		OtherName, "The certificate of the entry is for another name.",
		"Write the entry with a name that the certificate has (see err).",
	},
	{
		TLS, "The TLS handshake with the entry fails.",
		"Check the TLS settings of the other node, and of the proxy in front of it if there is one.",
	},
	{
		NoUDP, "The other node answers over HTTP, but UDP packets do not get through.",
		"Open the UDP ports of both nodes in their firewalls, and check the public addresses that they are configured with.",
	},
	{
		NoCommonFamily, "The two nodes have no kind of address in common: one has IPv4 only, the other IPv6 only.",
		"Give one of them an address of the other kind.",
	},
	{
		Version, "The two nodes have no version of the protocol in common.",
		"Upgrade the older one.",
	},
	{
		Namesake, "Two nodes have the same name.",
		"Give each node a name of its own, and restart the one that changes.",
	},
	{
		Self, "The entry leads to this node itself.",
		"Remove it from this node's entries.",
	},
	{
		Circle, "The entries of the nodes lead in a circle.",
		"One node of the circle needs an entry that leads towards the origin.",
	},
	{
		Refusal, "The other node refuses to give this one streams.",
		"Its reason is in err. If it asks an Authorizer about other nodes, look there.",
	},
	{
		Proxy, "A proxy that is not declared forwards requests: all its clients count as one.",
		"Declare the proxy's network as trusted, or have the proxy send no forwarding headers if it is none of yours.",
	},
}

// lookUp returns the line of a cause.
func lookUp(c Cause) Trouble {
	for _, t := range All {
		if t.Cause == c {
			return t
		}
	}
	return Trouble{Cause: c}
}
