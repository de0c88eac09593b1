package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// A store has whatever names somebody gave, and a shell puts a candidate on the command
// line as it is: only what no shell interprets is offered.
func TestCompletionIsPlain(t *testing.T) {
	t.Parallel()
	plain := []string{"shop/Order", "a", "0", "_x", ".hidden", "/a", "a.b:c+d-e@f"}
	names := append(slices.Clone(plain), "$(touch x)A", "`touch x`", "a b", "a;b", "a&b", "a|b", "a>b", "a<b", "a*", "a?b", "[a]", "{a,b}", "a,b", "(a)", "a!b", "#a", "a#b", "~a", "a~b", "^a",
		"=a", "a=b", "%a", "a%b", "'a'", `"a"`, `a\b`, "$a", "a$b", "-a", "--store", "+a", "@a", ":a", "ä", "a’b", "a“b", "a–b", "a\u202eb", "a\u00a0b", "a\u2028b")
	store := stores[sqliteStore](t)
	err := onNewStore(t.Context(), store, func(ex evento.Executor) error {
		for _, name := range names {
			w := evento.Write{Appends: []evento.Append{{AggregateType: evento.AggregateType(name), AggregateID: "1", RoutingKey: name, Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Made", Codec: "json", Data: []byte("{}")}}}}}
			if _, err := ex.Write(t.Context(), w); err != nil {
				return err
			}
			nothing := evento.HandleAll("shop/Order", func(context.Context, evento.RawEvent) error { return nil })
			for _, sub := range []*evento.SubscriptionBuilder{evento.NewSubscription(name).All(), evento.NewSubscription("routed").RoutingKey(name)} {
				if err := sub.Logger(quiet).Handler(nothing).Execute(t.Context(), ex); err != nil {
					return err
				}
			}
			type state struct{ N int }
			if err := evento.NewProjection[state](name, "shop/Order").Keep("routed "+name).Execute(t.Context(), ex); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{
		{"aggregate", "--store", store, ""}, {"events", "list", "--store", store, "--type", ""}, {"events", "tail", "--store", store, "--type", ""},
		{"deadlines", "--store", store, "--type", ""}, {"snapshots", "list", "--store", store, "--projection", ""},
		{"subscriptions", "show", "--store", store, ""}, {"subscriptions", "parked", "--store", store, ""}, {"subscriptions", "remove", "--store", store, ""},
		{"subscriptions", "show", "routed", "--store", store, "--routing-key", ""}, {"subscriptions", "list", "--store", store, "--routing-key", ""},
	} {
		for _, request := range []string{"__complete", "__completeNoDesc"} {
			code, out, _ := call(t, "", append([]string{request}, words...)...)
			got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			got = got[:len(got)-1] // the last is for cobra
			got = slices.DeleteFunc(got, func(text string) bool { return text == "routed" })
			want := slices.Sorted(slices.Values(plain))
			if slices.Sort(got); code != exitOK || !slices.Equal(got, want) {
				t.Errorf("completing %q offers %q, exit code %d, want %q", words, got, code, want)
			}
		}
	}
	// What is begun narrows it.
	if _, out, _ := call(t, "", "__complete", "aggregate", "--store", store, "$("); strings.Contains(out, "touch") {
		t.Errorf("completing $( offers %q", out)
	}
}

// The same through bash, whose function is what Tab calls: what it puts on the command
// line is executed there.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	store := stores[sqliteStore](t)
	err = onNewStore(t.Context(), store, func(ex evento.Executor) error {
		for _, name := range []string{"$(touch x)A", "shop/Order"} {
			w := evento.Write{Appends: []evento.Append{{AggregateType: evento.AggregateType(name), AggregateID: "1", Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Made", Codec: "json", Data: []byte("{}")}}}}}
			if _, err := ex.Write(t.Context(), w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := program(t, dir)
	cmd.Path, cmd.Args = bash, []string{"bash", "-c", `
		_get_comp_words_by_ref() { cur=; prev=aggregate words=("${COMP_WORDS[@]}") cword=2; } # of the package bash-completion
		source <(evento completion bash)
		COMP_WORDS=(evento aggregate ''); COMP_CWORD=2; COMP_LINE='evento aggregate '; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
		__start_evento
		eval "echo evento aggregate ${COMPREPLY[*]}"`}
	cmd.Env = append(cmd.Env, storeVariable+"="+store)
	code, out, errs := ended(t, cmd)
	if code != 0 || strings.TrimSpace(out) != "evento aggregate shop/Order" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if made := names(t, dir); len(made) > 0 {
		t.Errorf("it has made %q", made)
	}
}
