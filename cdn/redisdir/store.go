package redisdir

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

//go:embed store.lua
var storeSource string

//go:embed read.lua
var readSource string

var (
	store  = redis.NewScript(storeSource)
	stored = redis.NewScript(readSource)
)

// The keys of a stream are in one slot of a Cluster: those of its hash, from nodes to
// announcements, and of the sorted set of when their leases end.
func (d *Directory) keys(id cdn.StreamID) []string {
	hash := d.config.Prefix + ":s:{" + string(id) + "}"
	if id == "" {
		hash = d.config.Prefix + ":n:{nodes}"
	}
	return []string{hash, hash + ":until"}
}

func (d *Directory) channel() string { return d.config.Prefix + ":announce" }

// announce stores v, and has it counted here.
func (d *Directory) announce(ctx context.Context, v replica.Value) error {
	if err := d.ended(ctx); err != nil {
		return err
	}
	if v.Entry != nil {
		if err := d.set.Check(*v.Entry); err != nil {
			return err
		}
	}
	d.mu.Lock()
	delete(d.owed, v.Key()) // it is not gone
	d.mu.Unlock()
	if err := d.away(); err != nil {
		return err
	}
	return d.store(ctx, v)
}

// withdraw stores that something is gone. What cannot be stored now is owed.
func (d *Directory) withdraw(ctx context.Context, g replica.Gone) error {
	if err := d.ended(ctx); err != nil {
		return err
	}
	v := replica.Value{Lease: goneFor, Gone: &g}
	err := d.away()
	if err == nil {
		err = d.store(ctx, v)
	}
	if err != nil {
		d.owe(v)
	}
	return err
}

// store stores v with a number of its own. If others have used higher ones for its key,
// it goes on from there.
func (d *Directory) store(ctx context.Context, v replica.Value) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	const tries = 3
	for range tries {
		v.Seq = d.set.Next(v.Key())
		raw, err := v.Encode()
		if err != nil {
			return err
		}
		result, err := d.run(ctx, v, raw)
		if err != nil {
			return err
		}
		switch {
		case len(result) == 1 && result[0] == "ok":
			return d.keep(v, raw)
		case len(result) == 3 && result[0] == "stale":
			return fmt.Errorf("%w: %d, but %s has %s", cdn.ErrStale, v.Entry.Epoch, result[1], result[2])
		case len(result) == 2 && result[0] == "behind":
			seq, _ := strconv.ParseUint(result[1], 10, 64) // 0, if somebody else's
			d.set.Raise(seq)
		default:
			return fmt.Errorf("%w: Redis returns %.80q", cdn.ErrUnsupported, result)
		}
	}
	return fmt.Errorf("%w: another node calls itself %s", cdn.ErrTimeout, v.Key().Node)
}

// run has Redis store a value.
func (d *Directory) run(ctx context.Context, v replica.Value, raw []byte) ([]string, error) {
	d.mu.Lock()
	d.stats.Sent++
	d.mu.Unlock()
	k := v.Key()
	kind, epoch, publication, alike := "node", uint64(0), "", ""
	switch {
	case v.Entry != nil:
		kind, epoch, publication = "entry", v.Entry.Epoch, v.Entry.Publication
		alike = alikeIn(raw, publication, epoch)
	case v.Gone != nil:
		kind, epoch = "gone", v.Gone.Epoch
	}
	lease := max(min(v.Lease, replica.MaxLease).Milliseconds(), 1)
	result, err := store.Run(ctx, d.client, d.keys(k.Stream),
		string(k.Node), strconv.FormatUint(v.Seq, 10), lease, raw, d.channel(),
		kind, publication, strconv.FormatUint(epoch, 10), alike).StringSlice()
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			d.suspect()
		}
		return nil, d.failed(err)
	}
	return result, nil
}

// alikeIn returns a text that is in raw, and in entries of the same publication and
// epoch alone, by which most need not be parsed. "": there is none.
func alikeIn(raw []byte, publication string, epoch uint64) string {
	name, err := json.Marshal(publication)
	if err != nil || publication == "" {
		return ""
	}
	text := fmt.Sprintf(`"publication":%s,"epoch":"%d"`, name, epoch)
	if !strings.Contains(string(raw), text) {
		return ""
	}
	return text
}

// keep has what was stored counted here.
func (d *Directory) keep(v replica.Value, raw []byte) error {
	kept, err := replica.Decode(raw) // as others see it
	if err != nil {
		return err
	}
	outcome, err := d.set.Keep(kept, raw)
	if err == nil && outcome == replica.Stale {
		err = d.set.Check(*v.Entry)
	}
	return err
}

// owe has a withdrawal counted here, and stored when Redis is back.
func (d *Directory) owe(v replica.Value) {
	v.Seq = d.set.Next(v.Key())
	raw, err := v.Encode()
	if err == nil {
		err = d.keep(v, raw)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && len(d.owed) < maxOwed {
		d.owed[v.Key()] = v // or its lease ends
	}
}

// pay stores the withdrawals that could not be stored.
func (d *Directory) pay() {
	for {
		var v replica.Value
		d.mu.Lock()
		for k, owed := range d.owed {
			v = owed
			delete(d.owed, k)
			break
		}
		d.mu.Unlock()
		if v.Gone == nil {
			return
		}
		if err := d.store(d.ctx, v); err != nil {
			d.config.Logger.Warn("a withdrawal is left to expire", "stream", string(v.Gone.Stream), "err", err)
			if errors.Is(err, replica.ErrAway) {
				return
			}
		}
	}
}

// refresh reads a stream from Redis, or with "" the nodes' own entries, if Redis is
// there. It fails with an error wrapping ErrAway if it is not.
func (d *Directory) refresh(ctx context.Context, id cdn.StreamID) error {
	if err := d.ended(ctx); err != nil {
		return err
	}
	if err := d.away(); err != nil {
		return err
	}
	within := readWithin
	if deadline, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(deadline)/2)
	}
	read, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := d.read(read, id)
	if within == readWithin && read.Err() != nil && ctx.Err() == nil {
		d.suspect()
	}
	if ended := d.ended(ctx); ended != nil {
		return ended
	}
	return err
}

// read reads streams from Redis, mostly in one round trip, and drops what has ended of them. It
// returns the first error; what can be read is taken.
func (d *Directory) read(ctx context.Context, ids ...cdn.StreamID) error {
	sent := time.Now()
	pipe := d.client.Pipeline()
	cmds := make([]*redis.Cmd, len(ids))
	for i, id := range ids {
		cmds[i] = stored.EvalSha(ctx, pipe, d.keys(id))
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	d.mu.Lock()
	d.stats.Read += uint64(len(ids))
	d.mu.Unlock()
	var first error
	for i, id := range ids {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") { // as at the start of a server
			cmds[i] = stored.Eval(ctx, d.client, d.keys(id))
		}
		values, err := cmds[i].StringSlice()
		if err != nil {
			d.note(id, true)
			if first == nil {
				first = d.failed(err)
			}
			continue
		}
		for _, raw := range values {
			d.take(raw, false)
		}
		if d.note(id, false) {
			d.set.Excuse(id)
		}
		d.lapse(sent, id)
		if id == "" {
			d.unread.Store(false)
		}
	}
	return first
}

// failed returns the error of a command, and has Redis looked at if it does not answer.
func (d *Directory) failed(err error) error {
	var answer redis.Error
	if !errors.As(err, &answer) || errors.Is(err, redis.ErrClosed) {
		d.kick()
		return fmt.Errorf("%w: %w", replica.ErrAway, err)
	}
	switch word, _, _ := strings.Cut(answer.Error(), " "); word {
	case "NOPERM":
		return fmt.Errorf("%w: %w", cdn.ErrForbidden, err)
	case "NOAUTH", "WRONGPASS":
		return fmt.Errorf("%w: %w", cdn.ErrUnauthorized, err)
	}
	return fmt.Errorf("%w: %w", replica.ErrAway, err)
}
