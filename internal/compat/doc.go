// Package compat holds the test that a network of nodes goes on working while it
// is upgraded node by node: nodes of this version link, fetch and serve with nodes
// of an older one, as processes that know nothing of each other but addresses. It
// carries the build tag compat, since it builds the older version from the
// repository's history; `.ci/run compat` runs it.
package compat
