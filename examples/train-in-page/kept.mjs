const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** One value in IndexedDB, which takes maps and arrays of numbers as they are. */
export async function open(name) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
  const database = await settled(opening);
  const store = (mode) => database.transaction("kept", mode).objectStore("kept");
  return {
    get: () => settled(store("readonly").get("value")),
    put: (value) => settled(store("readwrite").put(value, "value")),
  };
}
