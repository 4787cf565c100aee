package jlora.trainer.launch;

import java.lang.reflect.Proxy;

/** Hears the signals that a process gets. */
public final class OsSignal {
    private OsSignal() {}

    /**
     * From now on the signal runs this action, on a thread of its own, and does nothing else.
     *
     * <p>{@code sun.misc.Signal} is all that Java has to hear of signals, and javac warns of it
     * wherever it is named: so it is found by name.
     *
     * @param name such as TERM
     */
    public static void handle(String name, Runnable action) {
        try {
            Class<?> signal = Class.forName("sun.misc.Signal");
            Class<?> handler = Class.forName("sun.misc.SignalHandler");
            Object listener =
                    Proxy.newProxyInstance(
                            handler.getClassLoader(),
                            new Class<?>[] {handler},
                            (proxy, method, arguments) -> {
                                if (method.getName().equals("handle")) {
                                    action.run();
                                    return null;
                                }
                                return method.invoke(action, arguments);
                            });
            signal.getMethod("handle", signal, handler)
                    .invoke(null, signal.getConstructor(String.class).newInstance(name), listener);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("cannot listen for SIG" + name, e);
        }
    }
}
