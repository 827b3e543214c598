export function serve(
  name: string,
  options?: { readonly port?: number; readonly made?: string },
): Promise<{ readonly url: string; close(): void }>;
