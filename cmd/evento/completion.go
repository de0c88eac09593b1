// Shell completion from the contents of a store.

package main

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completing prepares the arguments of a shell that asks for completion. When they have
// a mistake, cobra prints all of them on the real standard error: so the store is put
// into the context instead, and what else may be a password is hidden.
func completing(ctx context.Context, args []string) (context.Context, []string) {
	if len(args) == 0 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		return ctx, args
	}
	words, begun := args[:len(args)-1], args[len(args)-1]
	var kept []string
	for i := 0; i < len(words); i++ {
		text, ok := strings.CutPrefix(words[i], "--store=")
		if !ok && words[i] == "--store" && i+1 < len(words) {
			i++
			text, ok = words[i], true
		}
		if ok {
			ctx = context.WithValue(ctx, completedStore{}, text)
		} else {
			kept = append(kept, withoutPasswords(words[i]))
		}
	}
	return ctx, append(kept, begun)
}

// completedStore is the key of the store of [completing].
type completedStore struct{}

// candidates lists the possible values of a word.
type candidates func(ctx context.Context, s *session) ([]string, error)

// completionTime is how long completion may take.
const completionTime = 2 * time.Second

// from reads the store that the command line names so far. If it cannot be opened,
// nothing is completed: the command itself will report why.
func (c candidates) from(cmd *cobra.Command, begun string) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	s := &session{cmd: cmd}
	var err error
	if s.address, err = storeOf(cmd); err != nil {
		return nil, nothing
	}
	if err := s.open(ctx, looking); err != nil {
		return nil, nothing
	}
	list, err := c(ctx, s)
	if errors.Join(err, s.close()) != nil {
		return nil, nothing
	}
	var fitting []string
	for _, text := range list {
		if strings.HasPrefix(text, begun) && plain.MatchString(text) {
			fitting = append(fitting, text)
		}
	}
	return fitting, nothing
}

// plain matches what bash, zsh, fish and PowerShell take as it is, and no command for a
// flag. The names in a store may come from anybody, and a shell puts a candidate on the
// command line without quotes.
var plain = regexp.MustCompile(`^[A-Za-z0-9_/.][A-Za-z0-9_/.:+@-]*$`)

// complete completes a flag.
func complete(cmd *cobra.Command, flag string, c candidates) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) { // the flag is there
		return c.from(cmd, begun)
	})
}

// completeArgument completes the first argument.
func completeArgument(c candidates) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.from(cmd, begun)
	}
}

func subscriptionKeys(ctx context.Context, s *session) (keys []string, err error) {
	entries, err := s.entries(ctx, "")
	for _, e := range entries {
		keys = append(keys, e.name.Key)
	}
	return slices.Compact(keys), err
}

// routingKeys returns the routing keys of the subscriptions with a key, or with
// any.
func routingKeys(ctx context.Context, s *session, key string) (keys []string, err error) {
	entries, err := s.entries(ctx, key)
	for _, e := range entries {
		if e.name.RoutingKey != "" {
			keys = append(keys, e.name.RoutingKey)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}
