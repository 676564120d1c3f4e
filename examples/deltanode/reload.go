package main

import (
	"strings"

	"github.com/deltacdn/delta/examples/deltanode/config"
)

// reload takes over what can be changed while the node runs.
func (n *node) reload(c config.Config, err error) {
	if err != nil {
		n.log.Warn("the configuration cannot be used, and the old one stays", "err", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	if n.config.IsSet("name") == c.IsSet("name") && !c.IsSet("name") {
		c.Node.Name = n.config.Node.Name // a random part would be another
	}
	live, restart := n.config.Changed(&c)
	for _, part := range []struct {
		what string
		take func(*config.Config) error
	}{
		{"the log", n.takeLog}, {"the certificate", n.takeCertificate}, {"the access list", n.takeAccess}, {"the limits", n.takeLimits},
	} {
		if err := part.take(&c); err != nil {
			n.log.Warn("a part of the configuration cannot be used, and the old one stays", "what", part.what, "err", err)
		}
	}
	for _, w := range c.Warnings {
		n.log.Warn("the configuration", "what", w)
	}
	if len(restart) > 0 {
		n.log.Warn("the configuration has changes that need a restart", "keys", strings.Join(restart, ","))
	}
	n.log.Info("the configuration was read again", "changed", strings.Join(live, ","))
}

func (n *node) takeLog(c *config.Config) error {
	n.level.Set(levelOf(c.Log))
	n.config.Log.Level, n.config.Log.Verbose = c.Log.Level, c.Log.Verbose
	return nil
}

// takeCertificate reads the certificate's files, which may have other names now.
func (n *node) takeCertificate(c *config.Config) error {
	if n.site.files == nil || c.TLS.Cert == "" {
		return nil // to begin or to end with HTTPS takes a restart
	}
	if err := n.site.files.Use(c.TLS.Cert, c.TLS.Key); err != nil {
		return err
	}
	n.config.TLS.Cert, n.config.TLS.Key = c.TLS.Cert, c.TLS.Key
	return nil
}

// takeAccess reads the access list, whose file may have another name now. What operators
// have blocked and revoked by the admin API stays.
func (n *node) takeAccess(c *config.Config) error {
	p, err := readPolicy(c.Auth.Access)
	if err != nil {
		return err
	}
	if err := n.api.ReplaceAccess(p); err != nil {
		return err
	}
	n.config.Auth.Access = c.Auth.Access
	return nil
}

// takeLimits takes over limits that were changed in the configuration. Those that an
// operator has changed by the admin API stay if the configuration still says the same.
func (n *node) takeLimits(c *config.Config) error {
	if c.Limits == n.config.Limits {
		return nil
	}
	if err := n.node.SetLimits(c.Limits); err != nil {
		return err
	}
	n.config.Limits = c.Limits
	return nil
}
