// Shell completion from the contents of a store.

package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

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
		// The shell would interpret the others.
		if strings.HasPrefix(text, begun) && show(text) == text {
			fitting = append(fitting, text)
		}
	}
	return fitting, nothing
}

// complete completes a flag.
func complete(cmd *cobra.Command, flag string, c candidates) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) { // the flag is there
		return c.from(cmd, begun)
	})
}

// completeArgument completes argument number n.
func completeArgument(n int, c candidates) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) != n {
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
